"""What rules compare packets with: addresses, ports, protocols as the dataplane has them."""

from __future__ import annotations

from collections.abc import Iterator

from avish.config.config import Body, Config
from dataplane.model import AddressMatch, PortMatch, ProtocolMatch


def addresses(config: Config, match: Body | None, versions: tuple[str, ...] = ("V4", "V6")) -> AddressMatch | None:
    """The addresses of a match and of the groups it names, of these IP versions."""
    if match is None:
        return None
    groups = [config.target(ref) or {} for ref in match.get("group_refs", [])]
    found = dict.fromkeys(element for holder in (match, *groups) for element in _elements(holder, versions))
    return AddressMatch(tuple(found), negate=_negated(match))


def _elements(holder: Body, versions: tuple[str, ...]) -> Iterator[str]:
    for address in holder.get("addrs", []):
        if address["type"] in versions:
            yield address["addr"]
    for item in holder.get("ranges", []):
        if item["begin"]["type"] in versions:
            yield f"{item['begin']['addr']}-{item['end']['addr']}"
    for prefix in holder.get("prefixes", []):
        if prefix["ip_addr"]["type"] in versions:
            yield f"{prefix['ip_addr']['addr']}/{prefix['mask']}"


def ports(match: Body | None) -> PortMatch | None:
    """Single ports and ranges, which some matches call ``ranges`` and some ``port_ranges``."""
    if not match:
        return None
    ranges = [(item["start"], item["end"]) for item in (*match.get("ranges", []), *match.get("port_ranges", []))]
    return PortMatch(tuple(dict.fromkeys(match.get("ports", []))), negate=_negated(match), ranges=tuple(ranges))


def protocol(match: Body | None) -> ProtocolMatch | None:
    """A protocol, or any other."""
    if not match:
        return None
    return ProtocolMatch(match["protocol"].removeprefix("PROTOCOL_").lower(), negate=_negated(match))


def _negated(match: Body) -> bool:
    return bool(match["match_criteria"] == "IS_NOT_IN")

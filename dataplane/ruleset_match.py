"""The lines that let only matching connections through. Pure.

Every condition is a line of its own that leaves the chain unless it holds: nft 1.0.6 merges neighbouring comparisons of
header fields into one of raw bytes, which is wrong for two that are negated.
"""

from __future__ import annotations

from dataclasses import dataclass

from dataplane import intervals
from dataplane.model import AddressMatch, PortMatch, ProtocolMatch, version
from dataplane.rulewords import PROTOCOLS, Words


@dataclass(frozen=True, slots=True)
class Conditions:
    """What has to hold of a packet, all of it."""

    source: AddressMatch | None = None
    destination: AddressMatch | None = None
    source_port: PortMatch | None = None
    destination_port: PortMatch | None = None
    protocol: ProtocolMatch | None = None


def guards(wanted: Conditions, words: Words) -> list[str] | None:
    """The lines that let only matching packets through; None: none can match."""
    parts = [
        _addresses(words.source, wanted.source, words),
        _addresses(words.destination, wanted.destination, words),
        _protocol(wanted, words),
        _ports("th sport", wanted.source_port),
        _ports("th dport", wanted.destination_port),
    ]
    found = [part for part in parts if part is not None]
    return [line for part in found for line in part] if len(found) == len(parts) else None


def _addresses(selector: str, match: AddressMatch | None, words: Words) -> list[str] | None:
    if match is None:
        return []
    found = intervals.merged(one for one in match.elements if version(one) == words.version)
    if found == [intervals.EVERYTHING if words.version == 4 else intervals.EVERYTHING_6]:
        return None if match.negate else []
    texts = [intervals.text(part, version=words.version) for part in found]
    return _guard(selector, texts, negate=match.negate)


def _ports(selector: str, match: PortMatch | None) -> list[str] | None:
    if match is None:
        return []
    found = intervals.joined([(port, port) for port in match.ports] + list(match.ranges)) if match.ranges else None
    if found is None:
        texts = [str(port) for port in sorted(set(match.ports))]
    else:
        texts = [str(first) if first == last else f"{first}-{last}" for first, last in found]
    return _guard(selector, texts, negate=match.negate)


def _protocol(wanted: Conditions, words: Words) -> list[str] | None:
    """Where ports are asked for, only TCP and UDP can match."""
    match = wanted.protocol
    if wanted.source_port is None and wanted.destination_port is None:
        return [] if match is None else _guard("meta l4proto", [_number(match.protocol, words)], negate=match.negate)
    allowed = [name for name in ("tcp", "udp") if match is None or (match.protocol == name) != match.negate]
    return _guard("meta l4proto", [_number(name, words) for name in allowed], negate=False)


def _number(protocol: str, words: Words) -> str:
    return str(words.icmp if protocol == "icmp" else PROTOCOLS[protocol])


def _guard(selector: str, values: list[str], *, negate: bool) -> list[str] | None:
    """Leave unless the selector is (``negate``: is not) one of ``values``; None: that can never be."""
    if not values:
        return [] if negate else None
    operator = "" if negate else "!= "
    value = values[0] if len(values) == 1 else f"{{ {', '.join(values)} }}"
    return [f"{selector} {operator}{value} return"]

"""A NAT policy -> the dataplane's rules."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from avish.config.config import Body, Config
from avish.config.ids import Ids, rule_key
from dataplane.model import AddressMatch, NatRule, PortMatch, ProtocolMatch


def compile_policy(config: Config, policy: Body, ids: Ids) -> dict[int, NatRule]:
    """The rules, by id."""
    rules = [
        _rule(config, policy, rule, ids.numbers["nat_rule"][rule_key(policy["uuid"], rule["index"])])
        for rule in policy.get("rules", [])
    ]
    return {rule.id: rule for rule in rules}


def nat_addresses(policy: Body) -> Iterator[str]:
    """Every address that the rules in force translate to."""
    for rule in policy.get("rules", []):
        for begin, end in _pool(rule) if rule["enable"] else ():
            for number in range(int(IPv4Address(begin)), int(IPv4Address(end)) + 1):
                yield str(IPv4Address(number))


def _rule(config: Config, policy: Body, rule: Body, number: int) -> NatRule:
    match = rule["match"]
    services = match.get("services", {})
    return NatRule(
        id=number,
        order=(policy["name"], rule["index"]),
        pool=tuple(begin if begin == end else f"{begin}-{end}" for begin, end in _pool(rule)),
        source=_addresses(config, match.get("source_ip")),
        destination=_addresses(config, match.get("destination_ip")),
        source_port=_ports(services.get("source_port")),
        destination_port=_ports(services.get("destination_port")),
        protocol=_protocol(services.get("protocol")),
        enabled=rule["enable"],
    )


def _pool(rule: Body) -> Iterator[tuple[str, str]]:
    for info in rule["action"].get("nat_info", []):
        if "nat_ip" in info:
            yield info["nat_ip"]["addr"], info["nat_ip"]["addr"]
        else:
            yield info["nat_ip_range"]["begin"]["addr"], info["nat_ip_range"]["end"]["addr"]


def _addresses(config: Config, match: Body | None) -> AddressMatch | None:
    if match is None:
        return None
    groups = [config.target(ref) or {} for ref in match.get("group_refs", [])]
    elements = dict.fromkeys(element for holder in (match, *groups) for element in _elements(holder))
    return AddressMatch(tuple(elements), negate=_negated(match))


def _elements(holder: Body) -> Iterator[str]:
    """Addresses, ranges and prefixes of a match or a group; IPv4 only, as the flows are."""
    for address in holder.get("addrs", []):
        if address["type"] == "V4":
            yield address["addr"]
    for item in holder.get("ranges", []):
        if item["begin"]["type"] == "V4":
            yield f"{item['begin']['addr']}-{item['end']['addr']}"
    for prefix in holder.get("prefixes", []):
        if prefix["ip_addr"]["type"] == "V4":
            yield f"{prefix['ip_addr']['addr']}/{prefix['mask']}"


def _ports(match: Body | None) -> PortMatch | None:
    return PortMatch(tuple(dict.fromkeys(match["ports"])), negate=_negated(match)) if match else None


def _protocol(match: Body | None) -> ProtocolMatch | None:
    if not match:
        return None
    return ProtocolMatch(match["protocol"].removeprefix("PROTOCOL_").lower(), negate=_negated(match))


def _negated(match: Body) -> bool:
    return bool(match["match_criteria"] == "IS_NOT_IN")

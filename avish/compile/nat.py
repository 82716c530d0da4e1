"""A NAT policy -> the dataplane's rules."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from avish.compile import matches
from avish.config.config import Body, Config
from avish.config.ids import Ids, rule_key
from dataplane.model import NatRule

_ROUTED = ("V4",)
"""IP versions that are translated."""


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
        source=matches.addresses(config, match.get("source_ip"), _ROUTED),
        destination=matches.addresses(config, match.get("destination_ip"), _ROUTED),
        source_port=matches.ports(services.get("source_port")),
        destination_port=matches.ports(services.get("destination_port")),
        protocol=matches.protocol(services.get("protocol")),
        enabled=rule["enable"],
    )


def _pool(rule: Body) -> Iterator[tuple[str, str]]:
    for info in rule["action"].get("nat_info", []):
        if "nat_ip" in info:
            yield info["nat_ip"]["addr"], info["nat_ip"]["addr"]
        else:
            yield info["nat_ip_range"]["begin"]["addr"], info["nat_ip_range"]["end"]["addr"]

"""Network security policies and layer 4 policies of a virtual service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from avish.compile import matches
from avish.compile.pools import Servers, servers_of
from avish.config.config import Body, Config
from avish.config.services import PROTOCOLS
from dataplane.model import Branch, Match, PortMatch, ProtocolMatch, Rate, SecurityRule

_ACTIONS: dict[str, Literal["allow", "deny", "limit"]] = {
    "NETWORK_SECURITY_POLICY_ACTION_TYPE_ALLOW": "allow",
    "NETWORK_SECURITY_POLICY_ACTION_TYPE_DENY": "deny",
    "NETWORK_SECURITY_POLICY_ACTION_TYPE_RATE_LIMIT": "limit",
}


def security_rules(config: Config, policy: Body | None) -> tuple[SecurityRule, ...]:
    """The rules in force, in order."""
    rules = [rule for rule in (policy or {}).get("rules", []) if rule["enable"]]
    return tuple(_security_rule(config, rule) for rule in sorted(rules, key=lambda rule: int(rule["index"])))


def _security_rule(config: Config, rule: Body) -> SecurityRule:
    match, limit = rule["match"], rule.get("rl_param")
    return SecurityRule(
        rule["index"],
        Match(
            matches.addresses(config, match.get("client_ip")),
            matches.ports(match.get("client_port")),
            matches.ports(match.get("vs_port")),
        ),
        _ACTIONS[rule["action"]],
        Rate(limit["max_rate"], burst=max(limit["max_rate"], limit.get("burst_size", 0))) if limit else None,
    )


def branches(config: Config, body: Body, own: Servers) -> tuple[Branch, ...]:
    """What the layer 4 policies and the pools of single ports select; ``own``: the servers of the service itself."""
    return (*_policy_branches(config, body, own), *_port_branches(config, body))


def _policy_branches(config: Config, body: Body, own: Servers) -> Iterator[Branch]:
    for policy in sorted(body.get("l4_policies", []), key=lambda item: int(item["index"])):
        rules = (config.target(policy["l4_policy_set_ref"]) or {}).get("l4_connection_policy", {}).get("rules", [])
        for rule in sorted(rules, key=lambda rule: int(rule["index"])):
            if rule.get("enable", True):
                yield _branch(_match(config, rule.get("match", {})), _selected(config, rule, own))


def _match(config: Config, match: Body) -> Match:
    return Match(
        matches.addresses(config, match.get("client_ip")),
        port=matches.ports(match.get("port")),
        protocol=matches.protocol(match.get("protocol")),
    )


def _selected(config: Config, rule: Body, own: Servers) -> Servers:
    action = rule.get("action", {}).get("select_pool")
    return servers_of(config, action.get("pool_ref"), action.get("pool_group_ref")) if action else own


def _port_branches(config: Config, body: Body) -> Iterator[Branch]:
    for item in body.get("service_pool_select", []):
        first = item["service_port"]
        port = PortMatch((), ranges=((first, item.get("service_port_range_end") or first),))
        protocol = PROTOCOLS.get(item.get("service_protocol", ""))
        match = Match(port=port, protocol=ProtocolMatch(protocol) if protocol else None)
        yield _branch(match, servers_of(config, item.get("service_pool_ref"), item.get("service_pool_group_ref")))


def _branch(match: Match, servers: Servers) -> Branch:
    return Branch(
        match,
        servers.picker,
        servers.slots,
        servers.keep_port,
        servers.leaving,
        servers.server_limits,
        servers.reserve,
    )

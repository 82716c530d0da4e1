"""What an SeState means to nftables: the rules, maps and counters of our two tables, one for each IP version. Pure.

Packet path: ``prerouting`` looks destination address, protocol and port up and goes to the chain of the service
(``ruleset_service``), which marks the connection with the service's id and goes to a shared chain that translates.
``postrouting`` gives SNAT services the engine's address and shows every other routed IPv4 flow to the NAT rules
(``ruleset_nat``). ``forward`` lets connections of services pass while their server belongs to the service, the rest
only where routing is on. No lookup grows with the number of services. Everything a service or a rule owns is named by
its number, so a change renders only what it touches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from dataplane import ruleset_flows, ruleset_service
from dataplane.diff import Plan
from dataplane.errors import RefusedError
from dataplane.model import Listener, NatRule, Service, SeState, nat_counters
from dataplane.nft import Chain, Table
from dataplane.ruleset_nat import nat_chain, rule_chains
from dataplane.ruleset_service import SERVICE_CHAIN, shared_chains
from dataplane.rulewords import IPV4, PROTOCOLS, Words

KERNEL_TABLES = ("services", "nat", "switches", "timeouts")
"""The tables of an SeState that live in nftables."""

LISTENER_MAPS = ("services", "service_ranges", "service_networks")
"""Single addresses and ports, ranges of ports, prefixes: looked up in this order."""

_LOCAL = 2  # RTN_LOCAL, in the fib expression


def render(state: SeState, words: Words = IPV4) -> Table:
    """The whole table of an IP version. Raises RefusedError when two services want the same listener."""
    draft = _Draft(words)
    for service in state.services.values():
        draft.add_service(service)
    for rule in state.nat.values():
        draft.add_rule(rule)
    draft.chains |= shared_chains(state.services.values(), words)
    draft.chains |= ruleset_service.fixed_chains(words) | _routing_chains(words)
    if words is IPV4:
        draft.chains["nat"] = nat_chain(state.nat.values())
    draft.add_flows(state)
    return draft.table()


def touched(old: SeState, new: SeState, plan: Plan, words: Words = IPV4) -> tuple[Table, Table]:
    """The parts of the tables of ``old`` and ``new`` that ``plan`` touches. Raises RefusedError as ``render`` does."""
    before, after = _Draft(words), _Draft(words)
    tables = {step.table for step in plan}
    for step in plan:
        for draft, value in ((before, step.old), (after, step.new)):
            draft.add(step.table, value)
    flows = not tables.isdisjoint(("switches", "timeouts")) or before.ftp or after.ftp or before.idle != after.idle
    for draft, state in ((before, old), (after, new)):
        if "nat" in tables and words is IPV4:
            draft.chains["nat"] = nat_chain(state.nat.values())
        if flows:
            draft.add_flows(state)
        if before.shares or after.shares:
            draft.chains |= shared_chains(state.services.values(), words)
    return before.table(), after.table()


def with_time_run(found: Table, wanted: Table) -> Table:
    """``found`` as if the kernel still had the grace of servers that left before: time that has run is not given again.

    A server that leaves only now is still a member in ``found``.
    """
    sets = dict(found.sets)
    for name, members in (("leaving", "members"), ("leaving_keep_port", "members_keep_port")):
        if name in sets and members in sets:
            stay = sets[members].elements
            graces = {key: "" for key in wanted.sets[name].elements if key.partition(" timeout ")[0] not in stay}
            sets[name] = replace(sets[name], elements={**sets[name].elements, **graces})
    return replace(found, sets=sets)


def _routing_chains(words: Words) -> dict[str, Chain]:
    rules = [
        "ct mark vmap @snat_choices",
        "snat to ct mark map @snat_addresses",
        "ct mark @snat_services masquerade",
        f"fib saddr type {_LOCAL} accept",
    ]
    if words is IPV4:
        rules.append("ct mark 0x00000000 jump nat")
    hook = "type nat hook postrouting priority 100; policy accept;"
    return {"postrouting": Chain(tuple(rules), hook)}


@dataclass
class _Draft:
    """A table in the making, or a part of one.

    ``shares``: one of the services uses chains that depend on others; ``ftp``: the helper;
    ``idle``: times of connections.
    """

    words: Words
    counters: set[str] = field(default_factory=set)
    chains: dict[str, Chain] = field(default_factory=dict)
    elements: dict[str, dict[str, str]] = field(default_factory=dict)
    objects: dict[str, tuple[str, ...]] = field(default_factory=dict)
    shares: bool = False
    ftp: bool = False
    idle: set[tuple[str, int]] = field(default_factory=set)

    def table(self) -> Table:
        """All sets are named, filled or not: they exist before and after every change."""
        sets = {
            name: replace(empty, elements=self.elements.get(name, {}))
            for name, empty in ruleset_service.sets(self.words).items()
        }
        return Table(frozenset(self.counters), sets, self.chains, self.words.family, self.objects)

    def add(self, table: str, value: Any) -> None:
        if table == "services" and value is not None:
            self.add_service(value)
        elif table == "nat" and value is not None:
            self.add_rule(value)

    def add_service(self, service: Service) -> None:
        """Nothing where it does not listen."""
        self.ftp |= service.ftp is not None
        self.idle.update(service.idle)
        if not ruleset_service.appears(service, self.words):
            return
        listeners = [listener for listener in service.open_listeners if listener.version == self.words.version]
        name = f"{SERVICE_CHAIN}{service.id}"
        self.counters |= service.counters
        self.chains |= ruleset_service.service_chains(service, self.words)
        self.shares |= ruleset_service.shares(service)
        for listener in listeners:
            self._add_listener(listener, f"goto {name}")
        for table, part in ruleset_service.elements(service, self.words).items():
            self.elements.setdefault(table, {}).update(part)

    def _add_listener(self, listener: Listener, verdict: str) -> None:
        exact = listener.first == listener.last
        ports = str(listener.first) if exact else f"{listener.first}-{listener.last}"
        key = f"{listener.ip} . {PROTOCOLS[listener.protocol]} . {ports}"
        holder = self.elements.setdefault(_map_of(listener), {}).setdefault(key, verdict)
        if holder != verdict:
            raise RefusedError(f"{describe(listener)} is wanted by two services")

    def add_flows(self, state: SeState) -> None:
        """What passed on packets meet: the forward chain, times, the FTP helper."""
        ftp = ruleset_flows.follows_ftp(state)
        self.chains["forward"] = ruleset_flows.forward_of(state)
        self.chains["flow_timeouts"] = ruleset_flows.timeout_chain(state.timeouts)
        self.chains["helpers"] = ruleset_flows.helper_chain(self.words, ftp=ftp)
        self.objects = ruleset_flows.objects(
            state.timeouts, ruleset_flows.idles(state.services.values()), self.words, ftp=ftp
        )

    def add_rule(self, rule: NatRule) -> None:
        if self.words is IPV4:
            self.counters.update(nat_counters(rule.id))
            self.chains |= rule_chains(rule)


def _map_of(listener: Listener) -> str:
    if "/" in listener.ip:
        return LISTENER_MAPS[2]
    return LISTENER_MAPS[0 if listener.first == listener.last else 1]


def describe(listener: Listener) -> str:
    """A listener in words: "10.0.0.1 tcp port 21"."""
    if listener.first == listener.last:
        return f"{listener.ip} {listener.protocol} port {listener.first}"
    return f"{listener.ip} {listener.protocol} ports {listener.first}-{listener.last}"


def listener_conflicts(services: Mapping[int, Service]) -> list[str]:
    """The listeners that several services want, in words. An exact port goes before a range and is no conflict."""
    found = []
    taken: dict[tuple[str, str, str], list[tuple[int, int, int]]] = {}
    for service in services.values():
        for listener in service.open_listeners:
            group = taken.setdefault((listener.ip, listener.protocol, _map_of(listener)), [])
            group.append((listener.first, listener.last, service.id))
    for (ip, protocol, _map), ranges in taken.items():
        ranges.sort()
        for (first, last, one), (second, end, other) in pairwise(ranges):
            if second <= last:
                overlap = Listener(ip, "tcp" if protocol == "tcp" else "udp", max(first, second), min(last, end))
                found.append(f"{describe(overlap)} is taken by service {one} and wanted by service {other}")
    return found

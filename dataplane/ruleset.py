"""What an SeState means to nftables: the rules, maps and counters of our table. Pure.

Packet path: ``prerouting`` looks destination address, protocol and port up and goes to the chain of the service, which
counts, marks the connection with the service's id, picks a slot into the packet mark and goes to the one shared
``balance`` chain. ``postrouting`` gives SNAT services the engine's address and shows every other routed flow to the
NAT rules. ``forward`` lets service flows pass, the rest only where routing is on. No lookup grows with the number of
services. Everything a service or a rule owns is named by its number, so a change renders only what it touches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from dataplane import intervals
from dataplane.diff import Plan
from dataplane.errors import RefusedError
from dataplane.model import (
    NAT_MARK,
    AddressMatch,
    Listener,
    NatRule,
    PortMatch,
    Service,
    SeState,
    nat_counters,
    service_counter,
)
from dataplane.nft import Chain, ElementSet, Table

SERVICE_CHAIN = "service_"
KERNEL_TABLES = ("services", "nat", "switches")
"""The tables of an SeState that live in nftables."""

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "sctp": 132}

_SEED = "seed 0x1"  # fixed: both engines of a pair, and a chain loaded anew, choose alike
_LOCAL = 2  # RTN_LOCAL, in the fib expression
_LISTENER_TYPE = "ipv4_addr . inet_proto . inet_service : verdict"
_SETS = {
    "services": ElementSet("map", _LISTENER_TYPE),
    "service_ranges": ElementSet("map", _LISTENER_TYPE, "interval"),
    "slots": ElementSet("map", "mark . mark : ipv4_addr . inet_service"),
    "slots_keep_port": ElementSet("map", "mark . mark : ipv4_addr"),
    "snat_services": ElementSet("set", "mark"),
}
_LOOKUP = "ip daddr . meta l4proto . th dport vmap"
_FIXED_CHAINS = {
    "balance": Chain(
        (
            "meta l4proto { 6, 17 } dnat ip to ct mark . meta mark map @slots",
            "meta l4proto { 6, 17 } dnat to ct mark . meta mark map @slots_keep_port",
        )
    ),
    "prerouting": Chain(
        (f"{_LOOKUP} @services", f"{_LOOKUP} @service_ranges"),
        "type nat hook prerouting priority -100; policy accept;",
    ),
    "postrouting": Chain(
        (
            "ct mark @snat_services masquerade",
            f"fib saddr type {_LOCAL} accept",
            "ct mark 0x00000000 jump nat",
        ),
        "type nat hook postrouting priority 100; policy accept;",
    ),
}


def render(state: SeState) -> Table:
    """The whole table. Raises RefusedError when two services want the same listener."""
    draft = _Draft()
    for service in state.services.values():
        draft.add_service(service)
    for rule in state.nat.values():
        draft.add_rule(rule)
    chains = {**_FIXED_CHAINS, **draft.chains, "nat": _nat_chain(state.nat.values()), "forward": _forward(state)}
    return Table(frozenset(draft.counters), draft.filled(_SETS), chains)


def touched(old: SeState, new: SeState, plan: Plan) -> tuple[Table, Table]:
    """The parts of the tables of ``old`` and ``new`` that ``plan`` touches. Raises RefusedError as ``render`` does."""
    before, after = _Draft(), _Draft()
    tables = {step.table for step in plan}
    for step in plan:
        for draft, value in ((before, step.old), (after, step.new)):
            draft.add(step.table, value)
    for draft, state in ((before, old), (after, new)):
        if "nat" in tables:
            draft.chains["nat"] = _nat_chain(state.nat.values())
        if "switches" in tables:
            draft.chains["forward"] = _forward(state)
    return before.part(), after.part()


@dataclass
class _Draft:
    """A table in the making."""

    counters: set[str] = field(default_factory=set)
    chains: dict[str, Chain] = field(default_factory=dict)
    elements: dict[str, dict[str, str]] = field(default_factory=lambda: {name: {} for name in _SETS})

    def filled(self, names: Iterable[str]) -> dict[str, ElementSet]:
        return {
            name: ElementSet(_SETS[name].kind, _SETS[name].type, _SETS[name].flags, self.elements[name])
            for name in names
        }

    def part(self) -> Table:
        """All sets are named, filled or not: they exist before and after every change."""
        return Table(frozenset(self.counters), self.filled(_SETS), self.chains)

    def add(self, table: str, value: Any) -> None:
        if table == "services" and value is not None:
            self.add_service(value)
        elif table == "nat" and value is not None:
            self.add_rule(value)

    def add_service(self, service: Service) -> None:
        name = f"{SERVICE_CHAIN}{service.id}"
        self.counters.add(service_counter(service.id))
        self.chains[name] = _service_chain(service)
        for listener in service.listeners:
            self._add_listener(listener, f"goto {name}")
        slots = "slots_keep_port" if service.keep_port else "slots"
        for number, (ip, port) in enumerate(service.slots):
            key = f"{_mark(service.id)} . {_mark(number)}"
            self.elements[slots][key] = ip if service.keep_port else f"{ip} . {port}"
        if service.snat:
            self.elements["snat_services"][_mark(service.id)] = ""

    def _add_listener(self, listener: Listener, verdict: str) -> None:
        exact = listener.first == listener.last
        ports = str(listener.first) if exact else f"{listener.first}-{listener.last}"
        key = f"{listener.ip} . {PROTOCOLS[listener.protocol]} . {ports}"
        holder = self.elements["services" if exact else "service_ranges"].setdefault(key, verdict)
        if holder != verdict:
            raise RefusedError(f"{describe(listener)} is wanted by two services")

    def add_rule(self, rule: NatRule) -> None:
        self.counters.update(nat_counters(rule.id))
        self.chains |= _rule_chains(rule)


def describe(listener: Listener) -> str:
    """A listener in words: "10.0.0.1 tcp port 21"."""
    if listener.first == listener.last:
        return f"{listener.ip} {listener.protocol} port {listener.first}"
    return f"{listener.ip} {listener.protocol} ports {listener.first}-{listener.last}"


def _mark(number: int) -> str:
    return f"0x{number:08x}"


def _service_chain(service: Service) -> Chain:
    """A service without servers accepts: its address is the engine's own, which answers that nobody listens."""
    if not service.slots:
        return Chain(("accept",))
    count = len(service.slots)
    slot = f"numgen inc mod {count}" if service.picker == "round_robin" else f"jhash ip saddr mod {count} {_SEED}"
    return Chain(
        (
            _count(service_counter(service.id)),
            f"ct mark set {_mark(service.id)}",
            f"meta mark set {slot}",
            "goto balance",
        )
    )


def _count(name: str) -> str:
    return f'counter name "{name}"'


def _forward(state: SeState) -> Chain:
    return forward_chain(routing=bool(state.switches.get("routing")))


def forward_chain(*, routing: bool) -> Chain:
    """What is passed on: flows of services and, with ``routing``, all else too."""
    rules = ("ct mark 0x00000001-0x7fffffff accept", *(("accept",) if routing else ()))
    return Chain(rules, "type filter hook forward priority 0; policy drop;")


def _nat_chain(rules: Iterable[NatRule]) -> Chain:
    tried = sorted((rule for rule in rules if rule.enabled), key=lambda rule: (rule.order, rule.id))
    return Chain(tuple(f"jump nat_{rule.id}" for rule in tried))


def _rule_chains(rule: NatRule) -> dict[str, Chain]:
    """The chain of a NAT rule and, for a pool of several entries, one for the choice among them.

    Every condition is a line of its own that leaves the chain unless it holds: nft 1.0.6 merges neighbouring
    comparisons of header fields into one of raw bytes, which is wrong for two that are negated.
    """
    name = f"nat_{rule.id}"
    evaluated, hits = map(_count, nat_counters(rule.id))
    guards = _guards(rule)
    if guards is None or not rule.pool:
        return {name: Chain((evaluated,))}
    hit = (evaluated, *guards, hits, f"ct mark set {_mark(NAT_MARK | rule.id)}")
    targets = [_snat(entry) for entry in rule.pool]
    if len(targets) == 1:
        return {name: Chain((*hit, targets[0]))}
    choice = (f"meta mark set jhash ip saddr mod {len(targets)} {_SEED}", f"goto {name}_pool")
    pool = Chain(tuple(f"meta mark {_mark(number)} {target}" for number, target in enumerate(targets)))
    return {name: Chain((*hit, *choice)), f"{name}_pool": pool}


def _snat(entry: str) -> str:
    """``persistent`` makes the choice in a range depend on the source address only."""
    first, last = addresses = intervals.interval(entry)
    return f"snat to {intervals.text(addresses)}{'' if first == last else ' persistent'}"


def _guards(rule: NatRule) -> list[str] | None:
    """The lines that let only matching packets through; None: none can match."""
    parts = [
        _address_guards("ip saddr", rule.source),
        _address_guards("ip daddr", rule.destination),
        _protocol_guards(rule),
        _port_guards("th sport", rule.source_port),
        _port_guards("th dport", rule.destination_port),
    ]
    found = [part for part in parts if part is not None]
    return [line for part in found for line in part] if len(found) == len(parts) else None


def _address_guards(selector: str, match: AddressMatch | None) -> list[str] | None:
    if match is None:
        return []
    found = intervals.merged(match.elements)
    if found == [intervals.EVERYTHING]:
        return None if match.negate else []
    return _guard(selector, [intervals.text(part) for part in found], negate=match.negate)


def _port_guards(selector: str, match: PortMatch | None) -> list[str] | None:
    if match is None:
        return []
    return _guard(selector, [str(port) for port in sorted(set(match.ports))], negate=match.negate)


def _protocol_guards(rule: NatRule) -> list[str] | None:
    """Where ports are asked for, only TCP and UDP can match."""
    match = rule.protocol
    if rule.source_port is None and rule.destination_port is None:
        return [] if match is None else _guard("meta l4proto", [str(PROTOCOLS[match.protocol])], negate=match.negate)
    allowed = [name for name in ("tcp", "udp") if match is None or (match.protocol == name) != match.negate]
    return _guard("meta l4proto", [str(PROTOCOLS[name]) for name in allowed], negate=False)


def _guard(selector: str, values: list[str], *, negate: bool) -> list[str] | None:
    """Leave unless the selector is (``negate``: is not) one of ``values``; None: that can never be."""
    if not values:
        return [] if negate else None
    operator = "" if negate else "!= "
    value = values[0] if len(values) == 1 else f"{{ {', '.join(values)} }}"
    return [f"{selector} {operator}{value} return"]


def listener_conflicts(services: Mapping[int, Service]) -> list[str]:
    """The listeners that several services want, in words. An exact port goes before a range and is no conflict."""
    found = []
    taken: dict[tuple[str, str, bool], list[tuple[int, int, int]]] = {}
    for service in services.values():
        for listener in service.listeners:
            group = taken.setdefault((listener.ip, listener.protocol, listener.first == listener.last), [])
            group.append((listener.first, listener.last, service.id))
    for (ip, protocol, _exact), ranges in taken.items():
        ranges.sort()
        for (first, last, one), (second, end, other) in pairwise(ranges):
            if second <= last:
                overlap = Listener(ip, "tcp" if protocol == "tcp" else "udp", max(first, second), min(last, end))
                found.append(f"{describe(overlap)} is taken by service {one} and wanted by service {other}")
    return found

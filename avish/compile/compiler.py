"""A configuration -> the desired state of every engine.

Compiling starts from the last result and does again only what the objects that differ can have changed; bodies are
never changed in place, so identity tells. The answer is the same as from nothing, whatever was compiled before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from avish.compile.health import compile_probe, compile_watch, stale_monitors, stale_pools
from avish.compile.pairs import compile_pairs
from avish.compile.pairs import stale as stale_pairs
from avish.compile.placement import active_engines
from avish.compile.routing import NO_ROUTING, Routing, compile_address, compile_routes, compile_routing
from avish.compile.virtualservice import compile_service
from avish.config.config import Body, Change, Config
from avish.config.engines import Engine, engines
from avish.config.ids import Ids, Key, rule_key
from avish.config.services import snat_addresses, vip_addresses
from dataplane.diff import moved
from dataplane.failover_model import Pair
from dataplane.health_model import Probe
from dataplane.model import Service, SeState

PARTS = (
    "pool", "vsvip", "applicationprofile", "networkprofile", "poolgroup", "networksecuritypolicy", "l4policyset",
    "applicationpersistenceprofile", "ipaddrgroup",
)  # fmt: skip
"""Types that virtual services are made of."""
BETWEEN = frozenset({"pool", "poolgroup", "networksecuritypolicy", "l4policyset"})
"""Those that lead from a part to the virtual services."""
ROUTED = ("networkservice", "natpolicy", "ipaddrgroup", "vrfcontext")
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class Compiled:
    """A result, with what it was made from."""

    config: Config = field(default_factory=Config)
    ids: Ids = field(default_factory=Ids)
    routing: Mapping[tuple[str, str], Routing] = field(default_factory=dict)
    states: Mapping[str, SeState] = field(default_factory=dict)


class Compiler:
    """Remembers the last result. Threads may share it: the memory is replaced as a whole."""

    def __init__(self) -> None:
        self._last = Compiled()

    def compile(self, config: Config, ids: Ids) -> dict[str, SeState]:
        """The desired state by place; tables that did not change are the same objects as before."""
        self._last = compiled = _compile(config, ids, self._last)
        return dict(compiled.states)


def needed_ids(changes: Iterable[Change]) -> list[Key]:
    """The (kind, key) that must have a number before a configuration can be compiled after ``changes``."""
    return [key for change in changes if change.body is not None for key in _keys(change.type, change.body)]


def _keys(kind: str, body: Body) -> Iterator[Key]:
    if kind == "virtualservice":
        yield "service", body["uuid"]
    elif kind == "serviceengine":
        yield "engine", body["uuid"]
    elif kind == "networkservice" and body.get("routing_service", {}).get("enable_vmac"):
        yield "vmac", body["uuid"]
    elif kind == "natpolicy":
        for rule in body.get("rules", []):
            yield "nat_rule", rule_key(body["uuid"], rule["index"])


def _compile(config: Config, ids: Ids, last: Compiled) -> Compiled:
    if config.table("serviceengine") is not last.config.table("serviceengine"):
        last = Compiled()  # other engines, other networks: everything may move
    kinds = dict.fromkeys([*last.config.types(), *config.types()])  # the last one may be ahead: refused, or rehearsed
    changed = {kind: _changed_keys(last.config.table(kind), config.table(kind)) for kind in kinds}
    if last.states and stale_pairs(last.config, config, changed):
        return _compile(config, ids, Compiled())
    stale = _stale_services(config, changed)
    addresses = {ip for place in (last.config, config) for uuid in stale for ip in _vips(place, uuid)}
    routing = last.routing
    if any(changed.get(kind) for kind in ROUTED):
        routing = compile_routing(config, ids)
        addresses |= {ip for places in (last.routing, routing) for one in places.values() for ip in one.addresses}
    services = [_recompiled(config, ids, last, uuid) for uuid in stale]
    places = (last.config, config)
    pools = stale_pools(places, changed, stale)
    probes = {uuid: compile_probe(config, uuid) for uuid in stale_monitors(places, changed, pools)}
    work = _Work(
        config, last, routing, services, sorted(addresses), pools, probes, routes=bool(changed.get("vrfcontext"))
    )
    every = engines(config)
    active, pairs = active_engines(every, ids), compile_pairs(config, every, ids)
    states = {one.place: work.state(one, pairs[one.place], active=one.place in active) for one in every}
    return Compiled(config, ids, routing, states)


def _changed_keys(old: Mapping[str, Body], new: Mapping[str, Body]) -> list[str]:
    """Keys whose value is another object, or that are in one of the two only."""
    if old is new:
        return []
    other, gone = moved(old, new)
    return other + gone


def _stale_services(config: Config, changed: Mapping[str, list[str]]) -> dict[str, None]:
    """The virtual services to compile again, in order."""
    stale = dict.fromkeys(changed.get("virtualservice", []))
    for kind in PARTS:
        for uuid in changed.get(kind, []):
            stale.update(dict.fromkeys(_users(config, uuid)))
    return stale


def _users(config: Config, uuid: str) -> Iterator[str]:
    """The virtual services that are made of an object, however indirectly."""
    for kind, referrer in config.referrers(uuid):
        if kind == "virtualservice":
            yield referrer
        elif kind in BETWEEN:
            yield from _users(config, referrer)


def _vips(config: Config, uuid: str) -> list[str]:
    body = config.get("virtualservice", uuid) or {}
    return [*vip_addresses(config.target(body.get("vsvip_ref"))), *snat_addresses(body)]


@dataclass(frozen=True, slots=True)
class _Recompiled:
    """A virtual service done again; ``before`` and ``number``: its ids then and now, None where it did not exist."""

    body: Body
    before: int | None
    number: int | None
    service: Service | None


def _recompiled(config: Config, ids: Ids, last: Compiled, uuid: str) -> _Recompiled:
    body = config.get("virtualservice", uuid)
    before = last.ids.get("service", uuid)
    if body is None:
        return _Recompiled({}, before, None, None)
    number = ids.numbers["service"][uuid]
    return _Recompiled(body, before, number, compile_service(config, body, number))


@dataclass(frozen=True, slots=True)
class _Work:
    """What to do again on every engine: services, addresses and, if ``routes``, routes."""

    config: Config
    last: Compiled
    routing: Mapping[tuple[str, str], Routing]
    services: list[_Recompiled]
    addresses: list[str]
    pools: list[str]
    probes: Mapping[str, Probe | None]
    routes: bool

    def state(self, engine: Engine, pairs: Mapping[int, Pair], *, active: bool) -> SeState:
        """The state of one engine; of a pair both hold all, and the kernels let one of them answer."""
        last = self.last.states.get(engine.place, SeState())
        routing = self.routing.get(engine.segment, NO_ROUTING)
        active = active or bool(pairs)
        addresses = {
            ip: compile_address(self.config, engine, ip, routing, pairs) if active else None for ip in self.addresses
        }
        return SeState(
            addresses=patched(last.addresses, addresses),
            routes=replaced(last.routes, compile_routes(self.config, engine)) if self.routes else last.routes,
            services=patched(last.services, self._services(engine)),
            nat=replaced(last.nat, routing.nat),
            switches=replaced(last.switches, {"routing": active and routing.enabled, **routing.switches}),
            timeouts=replaced(last.timeouts, routing.timeouts),
            pairs=replaced(last.pairs, pairs),
            probes=patched(last.probes, self.probes),
            pools=patched(last.pools, {uuid: compile_watch(self.config, engine, uuid) for uuid in self.pools}),
        )

    def _services(self, engine: Engine) -> dict[int, Service | None]:
        gone: dict[int, Service | None] = {one.before: None for one in self.services if one.before is not None}
        here = {one.number: one.service for one in self.services if one.number and engine.carries(one.body)}
        return {**gone, **here}


def patched(table: Mapping[K, V], changes: Mapping[K, V | None]) -> Mapping[K, V]:
    """``table`` after ``changes`` (None: gone); itself when they make no difference."""
    real = {key: value for key, value in changes.items() if table.get(key) != value}
    if not real:
        return table
    result = dict(table)
    for key, value in real.items():
        if value is None:
            del result[key]
        else:
            result[key] = value
    return result


def replaced(old: Mapping[K, V], new: Mapping[K, V]) -> Mapping[K, V]:
    """``new``; ``old`` itself when the two are equal."""
    return old if old == new else new

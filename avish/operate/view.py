"""What the runtime reads look at: one configuration, and the engines' kernels at this moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import gmtime, strftime
from typing import Any, Protocol

from avish.compile.pairs import pair_of
from avish.config.config import Body, Config
from avish.config.engines import engine_of, place_of, vrf_of
from avish.config.ids import Ids
from avish.config.wellknown import GLOBAL_VRF
from avish.errors import UnavailableError
from dataplane.driver import Driver
from dataplane.errors import DataplaneError
from dataplane.model import Row, SeState

EMPTY = SeState()
Held = tuple[str, str, int, int]
"""Address, protocol, first and last port."""


@dataclass
class Seen:
    """A service engine, in one of its VRFs, during one request: its kernel is asked once for each thing.

    ``connected``: it holds what it should; otherwise ``reason`` says why not. ``since``: seconds since the epoch.
    ``desired``: what the configuration asks of it. ``restart`` starts its agent again and gives its status then.
    """

    name: str
    driver: Driver
    connected: bool
    reason: str
    since: float
    desired: SeState = EMPTY
    restart: Callable[[], str] = lambda: "unknown"
    vrf: str = GLOBAL_VRF
    _rows: dict[str, list[Row]] = field(default_factory=dict)
    _counted: dict[str, tuple[int, int] | None] = field(default_factory=dict)
    _failure: DataplaneError | None = None

    @property
    def place(self) -> str:
        """What tells it from every other one."""
        return place_of(self.name, self.vrf)

    def listeners(self) -> list[Row]:
        """The driver's listeners."""
        return self._read("listeners", self.driver.listeners)

    def addresses(self) -> list[Row]:
        """The driver's addresses."""
        return self._read("addresses", self.driver.addresses)

    def counted(self, *names: str) -> dict[str, tuple[int, int]]:
        """Those of the driver's counters with these names that there are."""
        new = tuple(name for name in names if name not in self._counted)
        if new:
            self._counted |= dict.fromkeys(new) | self.driver.counters(new)
        return {name: value for name in names if (value := self._counted[name]) is not None}

    def _read(self, what: str, ask: Callable[[], list[Row]]) -> list[Row]:
        """An engine that failed once is not asked again: each further wait would be as long."""
        if self._failure is not None:
            raise self._failure
        if what not in self._rows:
            try:
                self._rows[what] = ask()
            except DataplaneError as error:
                self._failure = error
                raise
        return self._rows[what]

    @cached_property
    def pools(self) -> dict[str, Row]:
        """The health of the watched pools, by uuid."""
        return {row["pool"]: row for row in self._read("pool_health", self.driver.pool_health)}

    @cached_property
    def eased(self) -> list[Row]:
        """The servers that get fewer connections because those of clients fail."""
        return self._read("eased", self.driver.eased)

    @cached_property
    def held(self) -> dict[int, set[Held]]:
        """The ports in the kernel by number of the service."""
        held: dict[int, set[Held]] = {}
        for row in self.listeners():
            held.setdefault(row["service"], set()).add((row["ip"], row["protocol"], row["first"], row["last"]))
        return held

    @cached_property
    def present(self) -> set[str]:
        """Every address the engine has."""
        return {row["ip"] for row in self.addresses()}

    @cached_property
    def roles(self) -> dict[int, Row]:
        """The pairs the engine is in, by number; empty when it does not answer."""
        if not self.desired.pairs:
            return {}
        try:
            return {row["pair"]: row for row in self._read("roles", self.driver.roles)}
        except DataplaneError:
            return {}

    def leads(self, pair: int) -> bool:
        """Whether it is the active engine of a pair."""
        return pair in self.roles and self.roles[pair]["role"] == "active"

    @cached_property
    def answering(self) -> set[str]:
        """The addresses the engine has, but for those of pairs in which the other engine is active."""
        return self.present - {
            one.ip for one in self.desired.addresses.values() if one.pair and not self.leads(one.pair)
        }

    def own_addresses(self) -> set[str]:
        """Those put there by us that it answers for."""
        return {row["ip"] for row in self.addresses() if row["own"]} & self.answering

    def fault(self) -> str:
        """Why nothing can be read from the engine; "" when it answers."""
        try:
            self.addresses()
        except DataplaneError as error:
            return self.reason or str(error)
        return ""


class Pace(Protocol):
    """How fast one thing goes: see ``avish.controller.rings.Track``."""

    totals: dict[str, int]
    now: dict[str, float]
    seconds: Any
    minutes: Any
    health: Any
    state: float


class RateBook(Protocol):
    """See ``avish.controller.rings.Rates``."""

    def get(self, key: tuple[str, str]) -> Pace | None: ...
    def all(self, kind: str) -> Iterator[tuple[str, Pace]]: ...


@dataclass(frozen=True)
class View:
    """``engines`` by place, or, in a view ``within`` one VRF, those that are there by name; ``query``: filters and
    options as typed.

    Runtime functions get one of these and the object they were asked about.
    """

    config: Config
    ids: Ids
    engines: Mapping[str, Seen] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    rates: RateBook | None = None
    memo: dict[str, Any] = field(default_factory=dict)
    """What was found out already during this request, by uuid."""
    vrf: str = GLOBAL_VRF
    everywhere: Mapping[str, Seen] | None = None
    """Of a view within one VRF: what was seen in all of them, by place."""

    def within(self, vrf: str) -> View:
        """What is seen in one VRF."""
        every = self.engines if self.everywhere is None else self.everywhere
        there = {engine_of(place): seen for place, seen in every.items() if vrf_of(place) == vrf}
        return replace(self, engines=there, everywhere=every, vrf=vrf)

    def of(self, body: Body) -> View:
        """What is seen in the VRF of an object; that of an object without one is the main VRF."""
        vrf = self.name_of(body.get("vrf_context_ref") or body.get("vrf_ref")) or GLOBAL_VRF
        return self if vrf == self.vrf and self.everywhere is not None else self.within(vrf)

    def vrfs(self, body: Body) -> list[str]:
        """The VRFs that an engine is in, as far as this view goes; the main one first."""
        return [seen.vrf for seen in self.places(body)]

    def places(self, body: Body) -> list[Seen]:
        """The engine of a serviceengine object in each of its VRFs, as far as this view goes; the main one first."""
        return [seen for seen in self.engines.values() if seen.name == body["name"]]

    @property
    def vrf_id(self) -> int:
        """The number of its VRF; the main one has 0."""
        names = [body["name"] for body in self.config.all("vrfcontext")]
        return names.index(self.vrf) if self.vrf in names else 0

    def engine(self, body: Body) -> Seen:
        """The engine of a serviceengine object; UnavailableError when there is none behind it."""
        found = self.engines.get(body["name"])
        if found is None and self.vrf != GLOBAL_VRF:
            raise UnavailableError(f"service engine {body['name']} has no interface in VRF {self.vrf}")
        if found is None:
            raise UnavailableError(
                f"no service engine of the topology is called {body['name']}: there is nothing to read"
            )
        return found

    def group(self, ref: str | None, pair: int = 1) -> list[Body]:
        """The serviceengine objects of a group, the one that is active (in a pair) first."""
        members = [body for body in self.config.all("serviceengine") if body.get("se_group_ref") == ref]
        if self.vrf != GLOBAL_VRF:
            members = [body for body in members if body["name"] in self.engines]
        return sorted(
            members, key=lambda body: (not self._leads(body, pair), self.ids.get("engine", body["uuid"]) or 0)
        )

    def _leads(self, body: Body, pair: int) -> bool:
        seen = self.engines.get(body["name"])
        return seen is not None and seen.leads(pair)

    def carriers(self, service: Body) -> list[Body]:
        """The serviceengine objects that carry a virtual service, the one that is active for it first."""
        ref = service.get("se_group_ref")
        return self.group(ref, self.pair(service, ref))

    def pair(self, service: Body, ref: str | None) -> int:
        """The number of the pair that a virtual service belongs to; 0 without one."""
        found = (
            self.engines.get(body["name"])
            for body in self.config.all("serviceengine")
            if body.get("se_group_ref") == ref
        )
        pairs = next((seen.desired.pairs for seen in found if seen is not None), {})
        return pair_of(pairs, service)

    def active(self, ref: str | None) -> Seen | None:
        """The engine of a group that answers for its addresses; None when there is none behind its object."""
        members = self.group(ref)
        return self.engines.get(members[0]["name"]) if members else None

    def name_of(self, ref: str | None) -> str:
        """The name behind a reference; "" when it leads nowhere."""
        target = self.config.target(ref)
        return target["name"] if target else ""


def configured(view: View, body: Body) -> dict[str, Any]:
    """An object as a part of an answer: references with the names of what they lead to."""
    return {name: _named(view, name, value) for name, value in body.items() if not name.startswith("_")}


def _named(view: View, name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return configured(view, value)
    if isinstance(value, list):
        return [_named(view, name, one) for one in value]
    if isinstance(value, str) and name.endswith(("_ref", "_refs")) and (known := view.name_of(value)):
        return f"{value}#{known}"
    return value


def envelope(body: Body) -> dict[str, Any]:
    """How a table of a service engine begins; the kernel has one table for all cores."""
    return {"se_ref": f"{body['name']}:{body['uuid']}", "proc_id": "C0_L4"}


def time_text(seconds: float) -> str:
    """``2026-02-03 04:05:06 UTC``."""
    return strftime("%Y-%m-%d %H:%M:%S UTC", gmtime(seconds))

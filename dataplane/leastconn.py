"""Slots of services whose choice depends on the flows there are: weighed anew each second. Pure.

Servers that have as many connections as they may are left out; the kernel itself refuses what comes sooner.

Of least connections the kernel has no notion. The next connections are dealt out in advance: each to the server that
then has the fewest for its weight, for as many as have come in the last round, so that a server that lags behind gets
all of them and none runs ahead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from heapq import heapify, heapreplace
from typing import TypeVar

from dataplane.diff import Plan, Step
from dataplane.model import Branch, Leaving, Row, Service
from dataplane.overlay import slots_without

Server = tuple[str, int]
Key = tuple[int, str, int]
"""Service, address, port; the port 0 where the service keeps that of the client."""
C = TypeVar("C", Service, Branch)
SECONDS = 1.0
"""Between two rounds: how old the numbers are at most."""
_MOST = 256
_OVER = frozenset({"TIME_WAIT", "CLOSE", "LAST_ACK"})


@dataclass
class Load:
    """What there is: open connections by server, and how many came since the last round, by service."""

    open: Counter[Key] = field(default_factory=Counter)
    fresh: Counter[int] = field(default_factory=Counter)

    @property
    def services(self) -> frozenset[int]:
        """Those that have connections."""
        return frozenset(number for number, _, _ in self.open)


def load_of(rows: Iterable[Row]) -> Load:
    """The load that flows make."""
    found = Load()
    for row in rows:
        mark = row["mark"]
        if not mark or row["state"] in _OVER:
            continue
        found.open[mark, row["reply_src"], row["reply_sport"]] += 1
        found.open[mark, row["reply_src"], 0] += 1
        if row["age"] is not None and row["age"] < SECONDS:
            found.fresh[mark] += 1
    return found


def weighable(services: Mapping[int, Service]) -> frozenset[int]:
    """The numbers of those with servers to choose from by least connections, or servers that may be full."""
    return frozenset(number for number, service in services.items() if any(map(_weighable, service.choices)))


def plan(even: Mapping[int, Service], shown: Mapping[int, Service], load: Load) -> Plan:
    """The steps that give the services ``even`` the slots they should have, instead of those ``shown``.

    ``even``: the services with the slots of an even load.
    """
    return tuple(_steps(even, shown, load))


def _steps(even: Mapping[int, Service], shown: Mapping[int, Service], load: Load) -> Iterator[Step]:
    for number, service in even.items():
        branches = tuple(_weighed(_with_room(branch, number, load), number, load) for branch in service.branches)
        own = service if service.close_when_down else _with_room(service, number, load)
        new = replace(_weighed(own, number, load), branches=branches)
        if new != shown[number]:
            yield Step("put", "services", number, shown[number], new)


def _weighable(choice: Service | Branch) -> bool:
    by_count = choice.picker == "least_connections" and len(set(choice.slots)) > 1
    return by_count or (choice.server_limits.connections > 0 and not is_alone(choice))


def is_alone(choice: Service | Branch) -> bool:
    """Whether no other server could take what one cannot."""
    return len({*choice.slots, *((one.ip, one.port) for one in choice.leaving)}) < 2


def _with_room(choice: C, number: int, load: Load) -> C:
    """Without the servers that are full; what is open to them goes on. Of one that is alone the kernel refuses."""
    most, servers = choice.server_limits.connections, dict.fromkeys(choice.slots)
    if not most or is_alone(choice):
        return choice
    full = frozenset(one for one in servers if load.open[number, one[0], 0 if choice.keep_port else one[1]] >= most)
    if not full:
        return choice
    leaving = choice.leaving + tuple(Leaving(*one, -1) for one in servers if one in full)
    return replace(choice, slots=slots_without(choice.picker, choice.slots, full), leaving=leaving)


def _weighed(choice: C, number: int, load: Load) -> C:
    if choice.picker != "least_connections" or len(set(choice.slots)) < 2:
        return choice
    length = min(_MOST, max(len(choice.slots), load.fresh[number]))
    slots = [one for six in (False, True) for one in _dealt(_of_version(choice, six=six), length, number, choice, load)]
    return replace(choice, slots=tuple(slots))


def _of_version(choice: Service | Branch, *, six: bool) -> list[Server]:
    return [server for server in choice.slots if (":" in server[0]) == six]


def _dealt(slots: list[Server], length: int, number: int, choice: Service | Branch, load: Load) -> list[Server]:
    """``length`` connections, each to the server with the fewest for its weight; those alike in the order of slots."""
    weights = Counter(slots)
    order = list(weights)
    counts = [load.open[number, ip, 0 if choice.keep_port else port] for ip, port in order]
    if len(order) < 2 or not any(counts):
        return slots
    heap = [((counts[place] + 1) / weights[server], place) for place, server in enumerate(order)]
    heapify(heap)
    dealt = []
    for _ in range(length):
        _, place = heap[0]
        dealt.append(order[place])
        counts[place] += 1
        heapreplace(heap, ((counts[place] + 1) / weights[order[place]], place))
    return dealt

"""Slots of services that balance by least connections: weighed anew from the flows there are. Pure.

The kernel has no such choice. The next connections are dealt out in advance: each to the server that then has the
fewest for its weight, for as many as have come in the last round, so that a server that lags behind gets all of them
and none runs ahead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from heapq import heapify, heapreplace
from typing import TypeVar

from dataplane.diff import Plan, Step
from dataplane.model import Branch, Row, Service

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
        if row["age"] is not None and row["age"] <= SECONDS:
            found.fresh[mark] += 1
    return found


def weighable(services: Mapping[int, Service]) -> frozenset[int]:
    """The numbers of those with servers to choose from by least connections."""
    return frozenset(number for number, service in services.items() if any(map(_weighable, _choices(service))))


def plan(even: Mapping[int, Service], shown: Mapping[int, Service], load: Load) -> Plan:
    """The steps that give the services ``even`` the slots they should have, instead of those ``shown``.

    ``even``: the services with the slots of an even load.
    """
    return tuple(_steps(even, shown, load))


def _steps(even: Mapping[int, Service], shown: Mapping[int, Service], load: Load) -> Iterator[Step]:
    for number, service in even.items():
        branches = tuple(_weighed(branch, number, load) for branch in service.branches)
        new = replace(_weighed(service, number, load), branches=branches)
        if new != shown[number]:
            yield Step("put", "services", number, shown[number], new)


def _choices(service: Service) -> tuple[Service | Branch, ...]:
    return (service, *service.branches)


def _weighable(choice: Service | Branch) -> bool:
    return choice.picker == "least_connections" and len(set(choice.slots)) > 1


def _weighed(choice: C, number: int, load: Load) -> C:
    if not _weighable(choice):
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

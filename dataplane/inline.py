"""Inline monitoring: servers that refuse the connections of clients, or do not answer them, get fewer of them.

Nobody is asked: the kernel tells which connections were refused, and counts those that were asked for again. A server
that fails at least as many as it takes gets a part of its share, and is tested at once where it is tested at all. One
that goes on failing gets none for a while, unless its tests pass: then they are believed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from dataplane import conntrack, ratecount
from dataplane.errors import DataplaneError
from dataplane.model import FlowMatch, Row, Service, SeState
from dataplane.overlay import OUT, REDUCED, Cut, Server

_LOG = logging.getLogger(__name__)
Key = tuple[int, Server]
"""Number of the service, and the server as the service names it."""

WINDOW_SECONDS = 10.0
ENOUGH = 2
"""So many failures within the window, and no more good connections, speak against a server."""
PROBATION_SECONDS = 10.0
LONGEST_SECONDS = 80.0
"""Without connections; it doubles each time."""
LOOK_SECONDS = 1.0
PAUSE_SECONDS = 0.2
_TCP = 6
_EVERY_BIT = 0xFFFFFFFF


@dataclass
class Standing:
    """What connections say of one server; level 0 is good. Times of a clock that never goes back."""

    level: int = 0
    until: float = 0.0
    since: float = 0.0
    reason: str = ""
    rests: int = 0
    failures: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=100))


class Book:
    """The standings. No IO; ``trusted`` says of a server whether its tests pass."""

    def __init__(self, trusted: Callable[[Server], bool]) -> None:
        self._trusted = trusted
        self._every: dict[Key, Standing] = {}

    def fail(self, key: Key, what: str, now: float, times: int = 1) -> None:
        """A connection was "refused", or "unanswered"."""
        one = self._every.setdefault(key, Standing())
        one.failures.extend([(now, what)] * times)
        if one.level == REDUCED:
            one.until = now + PROBATION_SECONDS

    def due(self, now: float) -> list[tuple[Key, float]]:
        """Those to be judged, and when the first of their failures was."""
        return [
            (key, one.failures[0][0])
            for key, one in self._every.items()
            if len(_recent(one, now)) >= ENOUGH and one.level < OUT
        ]

    def judge(self, key: Key, good: int, now: float) -> bool:
        """``good`` connections came about meanwhile; True when the server gets less from now on."""
        one = self._every[key]
        bad = len(one.failures)
        kinds = ", ".join(f"{sum(kind == what for _, kind in one.failures)} {what}" for what in _kinds(one))
        one.failures.clear()
        if good > bad or (one.level == REDUCED and self._trusted(key[1])):
            return False
        one.level, one.reason = one.level + 1, f"{bad} of {bad + good} connections failed ({kinds})"
        one.since = time.time()
        one.until = now + PROBATION_SECONDS
        if one.level == OUT:
            one.until = now + min(PROBATION_SECONDS * 2**one.rests, LONGEST_SECONDS)
            one.rests += 1
        return True

    def relax(self, now: float) -> set[int]:
        """The services with servers that get more again."""
        changed = set()
        for (number, server), one in list(self._every.items()):
            if not one.level and not _recent(one, now):
                del self._every[number, server]
            elif one.level and now >= one.until:
                one.level -= 1
                one.until, one.since = now + PROBATION_SECONDS, time.time()
                changed.add(number)
        return changed

    def cut(self) -> Cut:
        """Who gets less."""
        found: dict[int, dict[Server, int]] = {}
        for (number, server), one in self._every.items():
            if one.level:
                found.setdefault(number, {})[server] = one.level
        return found

    def rows(self) -> list[Row]:
        """See ``dataplane.driver.Driver.eased``."""
        return [
            {
                "service": number,
                "ip": server[0],
                "port": server[1],
                "out": one.level == OUT,
                "reason": one.reason,
                "since": one.since,
            }
            for (number, server), one in list(self._every.items())
            if one.level
        ]


def _recent(one: Standing, now: float) -> deque[tuple[float, str]]:
    while one.failures and one.failures[0][0] < now - WINDOW_SECONDS:
        one.failures.popleft()
    return one.failures


def _kinds(one: Standing) -> list[str]:
    return list(dict.fromkeys(what for _, what in one.failures))


class Easing(Protocol):
    """What the kernel's driver is asked for."""

    @property
    def held(self) -> SeState:
        """What configuration asks for."""

    def flows(self, mark: int, mask: int, match: FlowMatch) -> Iterator[Row]:
        """See ``dataplane.driver.Driver.flows``."""

    def ease(self, cut: Cut, changed: Iterable[int]) -> None:
        """From now on these servers get less."""


class Tests(Protocol):
    """What those who test servers are asked for."""

    def trusted(self, server: Server) -> bool:
        """Whether a server is tested, and the last of its tests passed."""

    def hurry(self, server: Server) -> None:
        """Test it at once, if it is tested at all."""


class Inline:
    """Looks in a thread of its own from ``start`` on."""

    def __init__(self, driver: Easing, tests: Tests) -> None:
        self._driver, self._tests = driver, tests
        self._book = Book(tests.trusted)
        self._refused: deque[Row] = deque(maxlen=10_000)
        self._silent: Mapping[tuple[int, str, int], int] = {}
        self._late: set[int] = set()
        self._woken = threading.Event()

    def start(self) -> None:
        """Begin to look."""
        self._silent = ratecount.silent()
        threading.Thread(target=self._run, name="inline", daemon=True).start()

    def refused(self, row: Row) -> None:
        """A connection that a server refused; from any thread."""
        self._refused.append(row)
        self._woken.set()

    def rows(self) -> list[Row]:
        """See ``dataplane.driver.Driver.eased``."""
        return self._book.rows()

    def _run(self) -> None:
        while True:
            self._woken.wait(LOOK_SECONDS)
            time.sleep(PAUSE_SECONDS)  # what comes in a burst is looked at together
            self._woken.clear()
            try:
                self._look(time.monotonic())
            except (DataplaneError, OSError) as error:
                _LOG.warning("what connections say of servers has no effect yet: %s", error)
            except Exception:  # noqa: BLE001  (the thread has to live on)
                _LOG.exception("looking at connections failed")

    def _look(self, now: float) -> None:
        for key, what, times in self._news():
            self._book.fail(key, what, now, times)
        for key, first in self._book.due(now):
            if self._book.judge(key, self._good(key, now - first), now):
                _LOG.info("server %s port %d of service %d gets fewer connections", *key[1], key[0])
                self._late.add(key[0])
                self._tests.hurry(key[1])
        self._late |= self._book.relax(now)
        if self._late:
            self._driver.ease(self._book.cut(), self._late)
            self._late = set()

    def _news(self) -> Iterator[tuple[Key, str, int]]:
        """The failures since the last look."""
        while self._refused:
            row = self._refused.popleft()
            key = self._key(row["mark"], row["reply_src"], row["reply_sport"])
            if key:
                yield key, "refused", 1
        before, self._silent = self._silent, ratecount.silent()
        for (mark, ip, port), count in self._silent.items():
            known = before.get((mark, ip, port), 0)
            more = count - known if count >= known else count
            key = self._key(mark, ip, port) if more else None
            if key:
                yield key, "unanswered", more

    def _key(self, mark: int, ip: str, port: int) -> Key | None:
        """The server as its service names it; None when its connections do not count."""
        service = self._driver.held.services.get(mark)
        if service is None or not service.inline:
            return None
        server = next(
            (one for one in _servers(service) if one[0] == ip and (one[1] == port or service.keep_port)), None
        )
        return (mark, server) if server else None

    def _good(self, key: Key, seconds: float) -> int:
        """How many connections to a server came about in the last seconds."""
        number, (ip, port) = key
        match = FlowMatch(protocol=_TCP, server=(ip, 0 if self._driver.held.services[number].keep_port else port))
        return sum(
            bool(row["status"] & conntrack.SEEN_REPLY) and row["age"] is not None and row["age"] <= seconds + 1
            for row in self._driver.flows(number, _EVERY_BIT, match)
        )


def _servers(service: Service) -> Iterator[Server]:
    for choice in service.choices:
        yield from choice.slots
        for tier in choice.reserve:
            yield from tier

"""How fast things go: the last minute by seconds and the last hour by minutes, of everything that is counted."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

METRICS = ("connections", "packets", "bytes", "reply_packets", "reply_bytes")
"""Cumulative counters, whose rates are kept. ``packets`` come from the client, ``reply_packets`` go to it."""
SLOTS = 60
MINUTE = 60.0
UNKNOWN = -1.0
Key = tuple[str, str]
"""Kind ("service", "server", "rule", "engine") and what it is known by."""
Counted = Mapping[str, int]


class Ring:
    """The last values, oldest first; as many as there are slots."""

    __slots__ = ("_at", "_values")

    def __init__(self, value: float = 0.0) -> None:
        self._values = array("f", [value] * SLOTS)
        self._at = 0

    def add(self, value: float) -> None:
        """The newest value, in place of the oldest."""
        self._values[self._at] = value
        self._at = (self._at + 1) % SLOTS

    def values(self) -> list[float]:
        """All of them."""
        found = self._values[self._at :] + self._values[: self._at]
        return [round(value, 2) for value in found]


@dataclass(slots=True)
class Track:
    """One thing. ``totals``: the counters since the controller began to look; ``now``: rates per second."""

    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(METRICS, 0))
    now: dict[str, float] = field(default_factory=lambda: dict.fromkeys(METRICS, 0.0))
    seconds: dict[str, Ring] = field(default_factory=lambda: {name: Ring() for name in METRICS})
    minutes: dict[str, Ring] = field(default_factory=lambda: {name: Ring() for name in METRICS})
    health: Ring = field(default_factory=lambda: Ring(UNKNOWN))
    """By minutes: 100 up, 0 down, -1 not known."""
    state: float = UNKNOWN
    _minute: dict[str, int] = field(default_factory=lambda: dict.fromkeys(METRICS, 0))

    def second(self, delta: Counted, took: float) -> None:
        """What was counted in the last ``took`` seconds."""
        for name in METRICS:
            grown = delta.get(name, 0)
            self.totals[name] += grown
            self._minute[name] += grown
            self.now[name] = round(grown / took, 2)
            self.seconds[name].add(grown / took)

    def minute(self, took: float) -> None:
        """A minute is over."""
        for name in METRICS:
            self.minutes[name].add(self._minute[name] / took)
            self._minute[name] = 0
        self.health.add(self.state)


class Rates:
    """Tracks by key. One thread looks (``look``), any other may read."""

    def __init__(self) -> None:
        self._tracks: dict[Key, Track] = {}
        self._before: dict[tuple[str, Key], Counted] = {}
        self._looked_at: set[str] = set()
        """The engines of earlier looks: what is new on one of them began at 0."""
        self._last = 0.0
        self._minute = 0.0
        self._lock = threading.Lock()

    def look(self, counted: Mapping[tuple[str, Key], Counted], now: float) -> None:
        """The counters as they are now, by engine and key. ``now``: seconds of any clock that goes on."""
        took = now - self._last if self._last else 0.0
        deltas: dict[Key, dict[str, int]] = {}
        for place, values in counted.items():
            before = self._before.get(place, {} if place[0] in self._looked_at else None)
            if before is not None:
                _add(deltas.setdefault(place[1], {}), _grown(before, values))
        with self._lock:
            for place in counted:
                self._tracks.setdefault(place[1], Track())
            if took > 0:
                for key, track in self._tracks.items():
                    track.second(deltas.get(key, {}), took)
                self._minutes(now)
            self._before.update(counted)
            self._looked_at.update(place[0] for place in counted)
            self._last = now
            self._minute = self._minute or now

    def _minutes(self, now: float) -> None:
        if now - self._minute >= MINUTE:
            for track in self._tracks.values():
                track.minute(now - self._minute)
            self._minute = now

    def judge(self, states: Iterable[tuple[Key, float]]) -> None:
        """Whether things are up (100), down (0), or that nobody knows (-1)."""
        with self._lock:
            for key, state in states:
                self._tracks.setdefault(key, Track()).state = state

    def get(self, key: Key) -> Track | None:
        """The track of a key, None when it was never counted."""
        with self._lock:
            return self._tracks.get(key)

    def all(self, kind: str) -> Iterator[tuple[str, Track]]:
        """The tracks of a kind."""
        with self._lock:
            found = [(key[1], track) for key, track in self._tracks.items() if key[0] == kind]
        return iter(found)


def _grown(before: Counted, after: Counted) -> dict[str, int]:
    """What was added; a counter that is lower has begun anew."""
    return {
        name: value - before.get(name, 0) if value >= before.get(name, 0) else value for name, value in after.items()
    }


def _add(into: dict[str, int], what: Mapping[str, int]) -> None:
    for name, value in what.items():
        into[name] = into.get(name, 0) + value

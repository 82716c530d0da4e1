"""Who has guessed too often: counted by user and by source, in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

SOURCE_FAILURES = 20
"""A source may guess for many users: it is held back as a whole from here on."""
SOURCE_FIRST, SOURCE_LAST = 60.0, 900.0
"""Seconds a source waits after so many failures; doubled each time, up to the last."""
KEPT = 10_000
"""Users and sources remembered; guesses at invented names must not fill the memory."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the account profile allows. ``failures`` 0: no end. ``lock``, ``window``: seconds; ``window`` 0: no end."""

    failures: int = 20
    lock: float = 1800.0
    window: float = 0.0


@dataclass(slots=True)
class _Count:
    failures: int = 0
    last: float = 0.0
    until: float = 0.0
    locks: int = 0


class Lockout:
    """Counts failures; ``left`` says how long a user or a source has to wait."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._users: dict[str, _Count] = {}
        self._sources: dict[str, _Count] = {}
        self._lock = threading.Lock()

    def left(self, user: str, source: str) -> float:
        """Seconds until another try is looked at; 0: now."""
        now = self._clock()
        with self._lock:
            found = [self._users.get(user), self._sources.get(source)]
        return max((count.until - now for count in found if count), default=0.0)

    def failed(self, user: str, source: str, terms: Terms) -> bool:
        """Count a failure; True when it locks the user."""
        now = self._clock()
        with self._lock:
            count = _counted(self._users, user)
            if terms.window and now - count.last > terms.window:
                count.failures = 0
            count.failures, count.last = count.failures + 1, now
            locked = bool(terms.failures) and count.failures >= terms.failures
            if locked:
                count.failures, count.until = 0, now + terms.lock
            self._source_failed(source, now)
        return locked

    def _source_failed(self, source: str, now: float) -> None:
        count = _counted(self._sources, source)
        if now - count.last > SOURCE_LAST:
            count.failures = count.locks = 0
        count.failures, count.last = count.failures + 1, now
        if count.failures >= SOURCE_FAILURES:
            count.until = now + min(SOURCE_FIRST * 2**count.locks, SOURCE_LAST)
            count.failures, count.locks = 0, count.locks + 1

    def succeeded(self, user: str, source: str) -> None:
        """The user is who he says: his count begins anew. That of the source stays if others were tried from there."""
        with self._lock:
            self._users.pop(user, None)
            count = self._sources.get(source)
            if count is not None and count.failures <= 1:
                del self._sources[source]

    def unlock(self, user: str) -> None:
        """Forget what was counted for a user."""
        with self._lock:
            self._users.pop(user, None)

    def locked(self) -> list[str]:
        """The users that are locked now."""
        now = self._clock()
        with self._lock:
            return [user for user, count in self._users.items() if count.until > now]


def _counted(counts: dict[str, _Count], key: str) -> _Count:
    if key not in counts and len(counts) >= KEPT:
        del counts[min(counts, key=lambda one: counts[one].last)]
    return counts.setdefault(key, _Count())

"""Who has guessed too often: counted by user and by source. A restart of the controller forgets nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from avish.config.store import Store

SOURCE_FAILURES = 20
"""A source may guess for many users: it is held back as a whole from here on."""
SOURCE_FIRST, SOURCE_LAST = 60.0, 900.0
"""Seconds a source waits after so many failures; doubled each time, up to the last."""
NOTE = "lockout/"
USER = "user"
LONGEST = 256
"""Characters of a name that count: what strangers send must not fill the disk."""
Key = tuple[str, str]
"""User or source, and its name."""
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

    def __init__(self, clock: Callable[[], float], store: Store) -> None:
        self._clock = clock
        self._store = store
        self._counts: dict[Key, _Count] = {}
        for key, value in store.notes(NOTE).items():
            kind, _, name = key.partition("/")
            self._counts[kind, name] = _Count(**value)
        self._lock = threading.Lock()

    def left(self, user: str, source: str) -> float:
        """Seconds until another try is looked at; 0: now."""
        now = self._clock()
        with self._lock:
            found = [self._counts.get(key) for key in (_user(user), _source(source))]
        return max([0.0, *(count.until - now for count in found if count)])

    def failed(self, user: str, source: str, terms: Terms) -> bool:
        """Count a failure; True when it locks the user."""
        now = self._clock()
        with self._lock:
            notes: dict[str, Any] = {}
            count = self._counted(_user(user), notes)
            if terms.window and now - count.last > terms.window:
                count.failures = 0
            count.failures, count.last = count.failures + 1, now
            locked = bool(terms.failures) and count.failures >= terms.failures
            if locked:
                count.failures, count.until = 0, now + terms.lock
            from_there = self._counted(_source(source), notes)
            _hold_back(from_there, now)
            told = {_user(user): count, _source(source): from_there}
            self._store.keep(notes | {_note(key): asdict(one) for key, one in told.items()})
        return locked

    def _counted(self, key: Key, notes: dict[str, Any]) -> _Count:
        """The count of a key; where there are too many, the oldest of its kind makes room, in ``notes`` as well."""
        if key not in self._counts:
            kind = [one for one in self._counts if one[0] == key[0]] if len(self._counts) >= KEPT else []
            if len(kind) >= KEPT:
                oldest = min(kind, key=lambda one: self._counts[one].last)
                del self._counts[oldest]
                notes[_note(oldest)] = None
        return self._counts.setdefault(key, _Count())

    def succeeded(self, user: str, source: str) -> None:
        """The user is who he says: his count begins anew. That of the source stays if others were tried from there."""
        with self._lock:
            count = self._counts.get(_source(source))
            alone = count is not None and count.failures <= 1 and not count.locks
            self._forget(_user(user), *([_source(source)] if alone else []))

    def unlock(self, user: str) -> None:
        """Forget what was counted for a user."""
        with self._lock:
            self._forget(_user(user))

    def _forget(self, *keys: Key) -> None:
        gone = [key for key in keys if self._counts.pop(key, None) is not None]
        if gone:
            self._store.keep({_note(key): None for key in gone})

    def locked(self) -> list[str]:
        """The users that are locked now."""
        now = self._clock()
        with self._lock:
            return [name for (kind, name), count in self._counts.items() if kind == USER and count.until > now]


def _user(name: str) -> Key:
    return USER, name[:LONGEST]


def _source(name: str) -> Key:
    return "source", name[:LONGEST]


def _note(key: Key) -> str:
    return NOTE + "/".join(key)


def _hold_back(count: _Count, now: float) -> None:
    """One more failure of a source."""
    if now - count.last > SOURCE_LAST:
        count.failures = count.locks = 0
    count.failures, count.last = count.failures + 1, now
    if count.failures >= SOURCE_FAILURES:
        count.until = now + min(SOURCE_FIRST * 2**count.locks, SOURCE_LAST)
        count.failures, count.locks = 0, count.locks + 1

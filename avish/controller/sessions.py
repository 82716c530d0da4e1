"""Who is logged in: sessions in memory, known by a random id; a restart of the controller ends them."""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

IDLE_SECONDS = 1200.0
"""Without a request a session ends after this (the vendor's client forgets its own after the same)."""
LIFE_SECONDS = 24 * 3600.0
KEPT = 2000
"""Clients that log in for every task never log out: the oldest goes."""


@dataclass(slots=True, eq=False)
class Session:
    """``id`` and ``csrf`` are secrets; times in seconds since the epoch. ``kept``: followed streams hold it open."""

    id: str
    csrf: str
    user: str
    source: str
    via: str
    began: float
    seen: float
    idle: float = IDLE_SECONDS


class Sessions:
    """All sessions of a controller."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def begin(self, user: str, source: str, via: str, *, idle: float = IDLE_SECONDS) -> Session:
        """A new session."""
        now = self._clock()
        session = Session(secrets.token_urlsafe(24), secrets.token_urlsafe(24), user, source, via, now, now, idle)
        with self._lock:
            self._expire(now)
            while len(self._sessions) >= KEPT:
                del self._sessions[min(self._sessions, key=lambda one: self._sessions[one].seen)]
            self._sessions[session.id] = session
        return session

    def find(self, identity: str) -> Session | None:
        """The session of that id, which goes on; None when there is none (any more)."""
        now = self._clock()
        with self._lock:
            session = self._sessions.get(identity)
            if session is None or not _alive(session, now):
                self._sessions.pop(identity, None)
                return None
            session.seen = now
            return session

    def end(self, identity: str) -> None:
        """It is over."""
        with self._lock:
            self._sessions.pop(identity, None)

    def end_of(self, user: str, *, but: str = "") -> None:
        """All sessions of a user end, but one."""
        with self._lock:
            for session in [one for one in self._sessions.values() if one.user == user and one.id != but]:
                del self._sessions[session.id]

    def of(self, user: str) -> list[Session]:
        """The sessions of a user, "" for all, oldest first."""
        now = self._clock()
        with self._lock:
            self._expire(now)
            return [one for one in self._sessions.values() if user in ("", one.user)]

    def _expire(self, now: float) -> None:
        for session in [one for one in self._sessions.values() if not _alive(one, now)]:
            del self._sessions[session.id]


def _alive(session: Session, now: float) -> bool:
    return now - session.seen <= session.idle and now - session.began <= LIFE_SECONDS


def same(given: str, kept: str) -> bool:
    """Whether two secrets are equal, in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), kept.encode())

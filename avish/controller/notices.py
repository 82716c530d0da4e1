"""What every session is told: streamed to those that listen, kept for a while for those that come later."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from avish.api.request import Request, Response
from avish.config.store import Store
from avish.controller.subscription import Subscription

KEPT = 20
RECENT_SECONDS = 600.0
NOTE = "notices"
Notice = dict[str, Any]
"""{"time": ISO 8601 UTC, "text", "kind"}; kinds: confirm, minute, confirmed, rollback, drift, switchover, down."""


def iso(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def moment(seconds: float) -> str:
    """Seconds since the epoch as texts have it: ``2026-11-24 10:00:00 UTC``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


class Notices:
    """Tells, and remembers; what must survive a restart is put into the store by ``noted``."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._recent: deque[Notice] = deque(store.note(NOTE) or [], maxlen=KEPT)
        self._listeners: list[Subscription] = []
        self._closed = False
        self._lock = threading.Lock()

    def make(self, text: str, kind: str) -> Notice:
        """A notice of now, not told yet."""
        return {"time": iso(self._clock()), "text": text, "kind": kind}

    def noted(self, notice: Notice) -> Mapping[str, Any]:
        """What the store has to keep so that a notice is known after a restart as well."""
        return {NOTE: [*(self._store.note(NOTE) or []), notice][-KEPT:]}

    def tell(self, notice: Notice) -> None:
        """Send it to all who listen."""
        with self._lock:
            self._recent.append(notice)
            for listener in self._listeners:
                listener.offer(notice)

    def recent(self) -> list[Notice]:
        """The last ones, oldest first; none older than ten minutes."""
        since = iso(self._clock() - RECENT_SECONDS)
        with self._lock:
            return [notice for notice in self._recent if notice["time"] >= since]

    def get(self, request: Request) -> Response:
        """GET /api/notices: a stream; with ``recent=1`` the list of the last ones."""
        if request.query.get("recent", "") not in ("", "0"):
            return Response(200, self.recent())
        return Response(200, stream=self.listen())

    def listen(self) -> Subscription:
        """All that is told from now on; each second without anything gives {"event": "idle"}."""
        listener = Subscription(self._forget)
        with self._lock:
            if not self._closed:
                self._listeners.append(listener)
                return listener
        listener.close()
        return listener

    def close(self) -> None:
        """The controller goes down: say so, as the last thing; a second call does nothing."""
        notice = self.make("the controller is going down", "down")
        with self._lock:
            listeners, self._listeners, self._closed = self._listeners, [], True
        for listener in listeners:
            listener.finish(notice)

    def _forget(self, listener: Subscription) -> None:
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

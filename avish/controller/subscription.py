"""The events of a capture on their way to one reader: bounded, the newest lost first, with a count."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from avish.controller.decode import Sighting

QUEUE_LENGTH = 1000
"""Events a reader may be behind before newer packets are dropped for it."""
IDLE_SECONDS = 1.0

Event = dict[str, Any]


class Subscription:
    """The events of a job for one reader, from now on; ends after the "ended" event or ``close``.

    Events: {"event": "started", "engine", "file", "limits" (text)}, "packet" (see ``Sighting.event``),
    {"event": "dropped", "count"} where the reader was too slow, {"event": "idle"} every second without another,
    {"event": "ended", "reason", "packets", "lost", "file"}. Decoding happens in the reader's thread.
    """

    def __init__(self, on_close: Callable[[Subscription], None]) -> None:
        self._on_close = on_close
        self._queue: deque[Event | Sighting] = deque()
        self._changed = threading.Condition()
        self._dropped = 0
        self._complete = False
        self._closed = False

    def offer(self, item: Event | Sighting) -> None:
        """Queue ``item``, or count it as dropped while the queue is full."""
        with self._changed:
            if len(self._queue) >= QUEUE_LENGTH:
                self._dropped += 1
                return
            self._queue_dropped()
            self._queue.append(item)
            self._changed.notify()

    def finish(self, ended: Event) -> None:
        """Queue the last event, whatever the queue holds."""
        with self._changed:
            self._queue_dropped()
            self._queue.append(ended)
            self._complete = True
            self._changed.notify()

    def close(self) -> None:
        """End the iteration, also one that waits in another thread; a second call does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._on_close(self)

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        item = self._next()
        return item.event if isinstance(item, Sighting) else item

    def _next(self) -> Event | Sighting:
        with self._changed:
            self._changed.wait_for(self._has_something, IDLE_SECONDS)
            if self._closed or (self._complete and not self._queue):
                raise StopIteration
            if not self._queue:
                self._queue_dropped()
            return self._queue.popleft() if self._queue else {"event": "idle"}

    def _has_something(self) -> bool:
        return bool(self._queue) or self._dropped > 0 or self._complete or self._closed

    def _queue_dropped(self) -> None:
        if self._dropped:
            self._queue.append({"event": "dropped", "count": self._dropped})
            self._dropped = 0

"""What a capture tells one reader: bounded, the newest lost first, each loss counted where it happens."""

from __future__ import annotations

import base64
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from avish.controller.decode import Sighting
from dataplane.pcapng import Encoder, Entry
from dataplane.taps import Blocks

QUEUE_LENGTH = 2000
"""Events a reader may be behind before newer packets are dropped for it ("queue")."""
LINES_PER_SECOND = 1000
"""Nobody reads more: what is beyond is dropped for the "screen" and costs no decoding."""
STATUS_SECONDS = 1.0
EXPORT_BYTES = 32 * 2**20
"""So far may the reader of a live file be behind."""

Event = dict[str, Any]


class Subscription:
    """The events of a job for one reader, from now on; ends after the "ended" event or ``close``.

    Events: {"event": "started", "engine", "title", "file", "limits" (text)}, "packet" (see ``Sighting.event``),
    "note" (text), "status" once a second (see ``CaptureJob.figures``, and "queue", "screen": lines dropped here),
    "ended" (reason, packets, lost, file, queue, screen). Decoding happens in the reader's thread. ``interface``: only
    its packets are wanted, "" for all.
    """

    def __init__(
        self, on_close: Callable[[Any], None], figures: Callable[[], Event] = dict, interface: str = ""
    ) -> None:
        self.interface = interface
        self._on_close = on_close
        self._figures = figures
        self._queue: deque[Event | Sighting] = deque()
        self._changed = threading.Condition()
        self._behind = 0
        self._unread = 0
        self._tokens, self._filled = float(LINES_PER_SECOND), time.monotonic()
        self._told = time.monotonic()
        self._complete = False
        self._closed = False

    def room(self, count: int) -> int:
        """How many of ``count`` packets may be offered; the others are counted as dropped."""
        now = time.monotonic()
        with self._changed:
            grown = self._tokens + (now - self._filled) * LINES_PER_SECOND
            self._tokens, self._filled = min(grown, LINES_PER_SECOND), now
            taken = min(count, int(self._tokens))
            self._tokens -= taken
            self._unread += count - taken
            return taken

    def offer(self, item: Event | Sighting) -> None:
        """Queue ``item``, or count it as dropped while the queue is full."""
        with self._changed:
            if len(self._queue) >= QUEUE_LENGTH:
                self._behind += 1
                return
            self._queue.append(item)
            self._changed.notify()

    def finish(self, ended: Event) -> None:
        """Queue the last event, whatever the queue holds."""
        with self._changed:
            self._queue.append({**ended, **self._dropped()})
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
            left = self._told + STATUS_SECONDS - time.monotonic()
            if left > 0 or self._complete or self._closed:
                self._changed.wait_for(self._has_something, max(left, 0))
            if self._closed or (self._complete and not self._queue):
                raise StopIteration
            if self._queue and (time.monotonic() < self._told + STATUS_SECONDS or self._complete):
                return self._queue.popleft()
            self._told = time.monotonic()
            dropped = self._dropped()
        return {"event": "status", **self._figures(), **dropped}

    def _has_something(self) -> bool:
        return bool(self._queue) or self._complete or self._closed

    def _dropped(self) -> Event:
        return {"queue": self._behind, "screen": self._unread}


class Export:
    """A live capture file for one reader: events {"event": "data", "data": base64}; ends with the job or ``close``."""

    def __init__(self, encoder: Encoder, on_close: Callable[[Any], None]) -> None:
        self.dropped = 0
        self._encoder = encoder
        self._on_close = on_close
        self._changed = threading.Condition()
        self._parts: deque[bytes] = deque([encoder.header()])
        self._waiting = 0
        self._ended = False

    def packets(self, entries: Iterable[Entry], count: int) -> None:
        """Add packets."""
        self._offer(lambda: self._encoder.packets(entries), count)

    def blocks(self, blocks: Blocks, source: str, prefix: str) -> None:
        """Add packet blocks."""
        self._offer(lambda: self._encoder.blocks(blocks, source, prefix), blocks.count)

    def _offer(self, make: Callable[[], bytes], count: int) -> None:
        with self._changed:
            if self._waiting > EXPORT_BYTES:
                self.dropped += count
                return
            data = make()
            self._parts.append(data)
            self._waiting += len(data)
            self._changed.notify()

    def finish(self) -> None:
        """No more packets."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def close(self) -> None:
        """The reader has gone."""
        self.finish()
        self._on_close(self)

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        with self._changed:
            while not self._parts and not self._ended:
                if not self._changed.wait(STATUS_SECONDS):
                    return {"event": "status", "queue": self.dropped}
            if not self._parts:
                raise StopIteration
            data = b"".join(self._parts)
            self._parts.clear()
            self._waiting = 0
        return {"event": "data", "data": base64.b64encode(data).decode(), "queue": self.dropped}

"""Answers that are fetched page by page: what was not asked for yet waits here, for a while."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any

from avish.errors import ValidationError
from avish.operate.listing import Listing

SECONDS = 120.0
"""So long an answer waits for the next question."""
MOST = 64
NEXT = "next_cursor"
"""Under this key an answer names the cursor of its next page."""


@dataclass(slots=True)
class _Open:
    rows: Iterator[Any]
    key: str
    head: Mapping[str, Any]
    ready: list[Any]
    used: float
    coming: Future[list[Any]] | None = None
    """Rows that are being read while the page before is on its way; nobody else reads meanwhile."""

    def read(self, count: int) -> list[Any]:
        """Up to ``count`` rows. Raises what the rows raise."""
        if self.coming is not None:
            coming, self.coming = self.coming, None
            self.ready += coming.result()
        found, self.ready = self.ready[:count], self.ready[count:]
        return found + list(islice(self.rows, count - len(found)))

    def close(self) -> None:
        """Let go of what the rows are read from."""
        if self.coming is not None:
            wait([self.coming])
        close(self.rows)


class Cursors:
    """Open answers by token; each is read by whoever has the token, one at a time."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._lock = threading.Lock()
        self._readers = ThreadPoolExecutor(2, "page")

    def first(self, listing: Listing, size: int) -> dict[str, Any]:
        """The first page; with a token when there is more."""
        return self._page(_Open(iter(listing.rows), listing.key, listing.head, [], time.monotonic()), size)

    def following(self, token: str, size: int) -> dict[str, Any]:
        """The page that a token stands for; ValidationError (404) when it was fetched, or waited too long."""
        with self._lock:
            found = self._open.pop(token, None)
        if found is None:
            raise ValidationError(f"there is no page {token!r}: ask for the first one again", status=404)
        return self._page(found, size, ahead=True)

    def _page(self, answer: _Open, size: int, *, ahead: bool = False) -> dict[str, Any]:
        """A page. ``ahead``: whoever asks for a second page wants all, and the next is read meanwhile."""
        rows = answer.read(size + 1)
        page: dict[str, Any] = {**answer.head, answer.key: rows[:size]}
        if len(rows) > size:
            answer.ready, answer.used = [*rows[size:], *answer.ready], time.monotonic()
            if ahead:
                answer.coming = self._readers.submit(lambda: list(islice(answer.rows, size)))
            page[NEXT] = self._keep(answer)
        return page

    def _keep(self, answer: _Open) -> str:
        token = secrets.token_hex(8)
        now = time.monotonic()
        with self._lock:
            old = [name for name, one in self._open.items() if now - one.used > SECONDS]
            if len(self._open) - len(old) >= MOST:
                old.append(min(self._open, key=lambda name: self._open[name].used))
            dropped = [self._open.pop(name) for name in old if name in self._open]
            self._open[token] = answer
        for one in dropped:
            one.close()
        return token


def close(rows: Iterator[Any]) -> None:
    """Let go of what an iterator reads from."""
    end = getattr(rows, "close", None)
    if end is not None:
        end()

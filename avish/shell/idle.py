"""A shell that nobody uses ends by itself, after a warning (``terminal session_timeout``)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

WARNING = 60.0
"""Seconds before the end at which it is announced; a quarter of a time shorter than four minutes."""


class IdleError(Exception):
    """The time is over."""


class Idle:
    """``minutes``: without a key until the end; 0: never."""

    def __init__(self, minutes: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._minutes, self._clock = minutes, clock
        self._since = clock()
        self._warned = False

    def touch(self) -> None:
        """Somebody is there."""
        self._since, self._warned = self._clock(), False

    async def check(self, warn: Callable[[str], Awaitable[None]]) -> None:
        """IdleError when it is time to end; ``warn`` once before."""
        limit = self._minutes() * 60
        if not limit:
            return
        left = limit - (self._clock() - self._since)
        if left <= 0:
            raise IdleError(f"no key for {self._minutes()} min (terminal session_timeout)")
        if left <= min(WARNING, limit / 4) and not self._warned:
            self._warned = True
            await warn(f"no key for a while: the shell ends in {left:.0f} s unless one is pressed")

"""What systemd wants to hear from a service: that it is ready, that it lives, that it stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket


def tell(text: str) -> None:
    """One message (``READY=1``); without systemd nothing happens."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place:
        return
    address = f"\0{place[1:]}" if place.startswith("@") else place
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out, contextlib.suppress(OSError):
        out.sendto(text.encode(), address)


def watchdog_seconds() -> float:
    """How often it wants to hear that we live, 0: never."""
    try:
        return int(os.environ.get("WATCHDOG_USEC", "0")) / 1_000_000
    except ValueError:
        return 0.0


async def live(ended: asyncio.Event) -> None:
    """Say so, from the event loop itself: one that hangs falls silent."""
    every = watchdog_seconds() / 3
    while every and not ended.is_set():
        tell("WATCHDOG=1")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), every)

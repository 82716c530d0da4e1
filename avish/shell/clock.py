"""Times of the controller's (ISO 8601, UTC) as the user wants them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo


def local(time: str, zone: str) -> str:
    """``2026-11-24 10:00:00 UTC``, in the time zone ``zone``; a text that is no time stays as it is."""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return time
    return moment.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S %Z")

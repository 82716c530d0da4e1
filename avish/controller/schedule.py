"""When a schedule is due. Times are seconds since 1970; those of the objects are UTC unless they say otherwise."""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

UNITS = {
    "SCHEDULER_FREQUENCY_UNIT_MIN": 60.0,
    "SCHEDULER_FREQUENCY_UNIT_HOUR": 3600.0,
    "SCHEDULER_FREQUENCY_UNIT_DAY": 86_400.0,
    "SCHEDULER_FREQUENCY_UNIT_WEEK": 604_800.0,
}
"""Seconds; months are as long as they are."""
MONTHS = 12


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of a schedule: since when it is as it is, and its last run (None: none since then)."""

    since: float
    last: float | None = None


def next_run(body: Mapping[str, Any], memory: Memory) -> float | None:
    """When it has to run next, which may be over already; None: never."""
    due = _next(body, memory) if body.get("enabled", True) else None
    end = _time(body.get("end_date_time"))
    return None if due is None or (end is not None and due > end) else due


def _next(body: Mapping[str, Any], memory: Memory) -> float | None:
    mode, start = body.get("run_mode"), _time(body.get("start_date_time"))
    if mode == "RUN_MODE_NOW":
        return memory.since if memory.last is None else None
    if mode == "RUN_MODE_AT":
        return start if start is not None and memory.last is None and start >= memory.since else None
    if mode != "RUN_MODE_PERIODIC" or not body.get("frequency") or not body.get("frequency_unit"):
        return None
    if start is not None and start >= memory.since and memory.last is None:
        return start
    after = memory.last if memory.last is not None else memory.since
    return next(one for one in _runs(memory.since if start is None else start, after, body) if one > after)


def _runs(anchor: float, after: float, body: Mapping[str, Any]) -> Iterator[float]:
    """The times of a schedule from shortly before ``after`` on."""
    unit, frequency = body["frequency_unit"], int(body["frequency"])
    seconds = UNITS.get(unit)
    step = frequency * (seconds or 31 * 86_400.0)
    number = max(int((after - anchor) / step), 0)
    while True:
        yield anchor + number * step if seconds else _months_on(anchor, number * frequency)
        number += 1


def _months_on(anchor: float, months: int) -> float:
    """The same day and time some months later, or the last day of a month that is too short."""
    begin = datetime.fromtimestamp(anchor, UTC)
    years, month = divmod(begin.month - 1 + months, MONTHS)
    year = begin.year + years
    day = min(begin.day, calendar.monthrange(year, month + 1)[1])
    return begin.replace(year=year, month=month + 1, day=day).timestamp()


def _time(text: Any) -> float | None:
    if not text:
        return None
    found = datetime.fromisoformat(str(text))
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()

"""When schedules are due."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from avish.controller.schedule import Memory, next_run


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


NOW = at("2026-01-31T10:00:00")


def periodic(frequency, unit, **more):
    unit = f"SCHEDULER_FREQUENCY_UNIT_{unit}"
    return {"run_mode": "RUN_MODE_PERIODIC", "frequency": frequency, "frequency_unit": unit, **more}


@pytest.mark.parametrize(
    ("body", "last", "expected"),
    [
        (periodic(1, "DAY"), None, "2026-02-01T10:00:00"),
        (periodic(6, "HOUR"), "2026-01-31T16:00:01", "2026-01-31T22:00:00"),
        (periodic(30, "MIN", start_date_time="2026-01-01T00:10:00"), None, "2026-01-31T10:10:00"),
        (periodic(1, "WEEK", start_date_time="2026-03-01T04:00:00"), None, "2026-03-01T04:00:00"),
        (periodic(1, "WEEK", start_date_time="2026-03-01T04:00:00"), "2026-03-20T00:00:00", "2026-03-22T04:00:00"),
        (periodic(1, "MONTH"), None, "2026-02-28T10:00:00"),
        (periodic(1, "MONTH"), "2026-02-28T10:00:00", "2026-03-31T10:00:00"),
        (periodic(1, "DAY", end_date_time="2026-02-01T09:00:00"), None, None),
        (periodic(1, "DAY", enabled=False), None, None),
        (periodic(0, "DAY"), None, None),
        ({"run_mode": "RUN_MODE_AT", "start_date_time": "2026-02-03T01:00:00"}, None, "2026-02-03T01:00:00"),
        ({"run_mode": "RUN_MODE_AT", "start_date_time": "2026-02-03T01:00:00"}, "2026-02-03T01:00:00", None),
        ({"run_mode": "RUN_MODE_AT", "start_date_time": "2026-01-03T01:00:00"}, None, None),
        ({"run_mode": "RUN_MODE_NOW"}, None, "2026-01-31T10:00:00"),
        ({"run_mode": "RUN_MODE_NOW"}, "2026-01-31T10:00:00", None),
        ({}, None, None),
    ],
)
def test_next_run(body, last, expected):
    memory = Memory(NOW, None if last is None else at(last))
    assert next_run(body, memory) == (None if expected is None else at(expected))

"""What others changed is put right in the end, whatever goes wrong on the way."""

from __future__ import annotations

import threading

import pytest

from dataplane import watch
from dataplane.errors import RefusedError
from dataplane.model import SeState

WAIT = 10.0


class Repairer:
    """A driver that fails as often as there are ``errors``, and remembers what it was asked for."""

    held = SeState()

    def __init__(self, *errors):
        self.errors = list(errors)
        self.asked = []
        self.done = threading.Event()

    def keeps(self, ip):
        return False

    def may_have(self, ip):
        return False

    def repair(self, *, tables):
        self.asked.append(tables)
        if self.errors:
            raise self.errors.pop(0)
        self.done.set()
        return ["chain forward has other rules"]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(watch, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(watch, "RETRY_SECONDS", 0.01)


@pytest.mark.parametrize("error", [RefusedError("not now"), OSError("gone"), ValueError("a bug")])
def test_tables_that_could_not_be_mended_are_tried_again(quick, error):
    driver = Repairer(error, error)
    seen = watch.Watch(driver, lambda: ["the gate is missing"] if len(driver.asked) == 0 else [], lambda: 5.0)
    threading.Thread(target=seen._repair, daemon=True).start()
    seen._call(tables=True)
    assert driver.done.wait(WAIT)
    assert driver.asked == [True, True, True]
    for _ in range(1000):
        if len(seen.repairs()) == 2:
            break
        threading.Event().wait(0.01)
    assert [row["text"] for row in seen.repairs()] == ["the gate is missing", "chain forward has other rules"]

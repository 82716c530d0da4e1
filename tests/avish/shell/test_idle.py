"""A shell that nobody uses."""

from __future__ import annotations

import asyncio

import pytest

from avish.shell.idle import Idle, IdleError


class Watch:
    """A clock, and what was warned of."""

    def __init__(self, minutes):
        self.now, self.said = 0.0, []
        self.idle = Idle(lambda: minutes, lambda: self.now)

    def at(self, now):
        self.now = now

        async def warn(text):
            self.said.append(text)

        asyncio.run(self.idle.check(warn))


def test_it_warns_once_a_minute_before_and_ends():
    watch = Watch(10)
    watch.at(539)
    assert watch.said == []
    watch.at(540)
    watch.at(541)
    assert watch.said == ["no key for a while: the shell ends in 60 s unless one is pressed"]
    with pytest.raises(IdleError, match="no key for 10 min"):
        watch.at(600)


def test_a_key_begins_anew():
    watch = Watch(1)
    watch.at(50)
    watch.idle.touch()
    watch.at(90)
    assert len(watch.said) == 1
    watch.at(109)
    with pytest.raises(IdleError):
        watch.at(110)


def test_zero_never_ends():
    watch = Watch(0)
    watch.at(1e9)
    assert watch.said == []

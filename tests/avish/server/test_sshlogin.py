"""Strangers at the SSH door, with connections that only say who they are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from avish.server import sshlogin
from avish.server.sshlogin import Door, Settings


class Connection:
    """What a door asks a connection for."""

    def __init__(self, source, version=None):
        self.told = {"peername": (source, 1), "client_version": version}
        self.aborted = False

    def get_extra_info(self, name: str) -> object:
        return self.told.get(name)

    def abort(self):
        self.aborted = True


@pytest.fixture(autouse=True)
def loop(monkeypatch):
    """Doors set their timers here; nothing runs by itself."""
    timers = []
    monkeypatch.setattr(
        sshlogin.asyncio, "get_running_loop", lambda: SimpleNamespace(call_later=lambda s, do: timers.append((s, do)))
    )
    return timers


def knock(settings: Settings, *given: tuple[str, str | None]) -> list[Connection]:
    made = [Connection(*one) for one in given]
    for one in made:
        Door(settings, ThreadPoolExecutor(1), None).connection_made(one)
    return made


def left(connections: list[Connection]) -> list[bool]:
    return [not one.aborted for one in connections]


def test_who_floods_the_door_keeps_nobody_else_out():
    settings = Settings([])
    flood = knock(settings, *[("10.0.0.1", None)] * 100)
    (honest,) = knock(settings, ("10.0.0.2", None))
    assert left(flood) == [False] * 80 + [True] * 20
    assert not honest.aborted


def test_the_same_address_still_comes_in():
    settings = Settings([], strangers_of_source=2)
    busy, idle, new = knock(settings, ("10.0.0.1", "SSH-2.0-x"), ("10.0.0.1", None), ("10.0.0.1", None))
    assert left([busy, idle, new]) == [True, False, True]


def test_when_all_is_full_the_address_with_the_most_makes_room():
    settings = Settings([], strangers=4)
    made = knock(settings, *[(source, None) for source in ("10.0.0.9", "10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3")])
    assert left(made) == [True, False, True, True, True]


def test_who_says_nothing_goes(loop):
    silent, client = knock(Settings([], version_seconds=5), ("10.0.0.1", None), ("10.0.0.1", "SSH-2.0-x"))
    for seconds, hurry in loop:
        assert seconds == 5
        hurry()
    assert left([silent, client]) == [False, True]

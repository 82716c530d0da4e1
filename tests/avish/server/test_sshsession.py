"""Limits of the SSH front: idle sessions, and how many there may be."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("asyncssh")
from avish.lang.tree import Tree
from avish.schema.load import schema
from avish.server import sshsession
from avish.server.sshlogin import Known, Settings
from avish.server.sshsession import Session, Sessions


class Stream:
    def __init__(self):
        self.said, self.spoken = b"", asyncio.Event()

    def write(self, data):
        self.said += data
        self.spoken.set()


class Process:
    """A session of asyncssh's, as far as these look at it."""

    def __init__(self):
        self.stderr, self.status, self.closed = Stream(), None, False
        self.channel = self

    def close(self):
        self.closed = True

    def exit(self, status):
        self.status = status

    def get_extra_info(self, name):
        return None


def idle(seconds, touches=0):
    """What was said, and how long the session lived."""

    async def run():
        process = Process()
        session = Session(Settings([], idle_seconds=seconds), None, Tree(schema()), process, Known("a", "s", "admin"))
        loop = asyncio.get_running_loop()
        began = loop.time()
        watch = asyncio.create_task(session._watch())
        for _ in range(touches):
            await asyncio.wait_for(process.stderr.spoken.wait(), 20)
            process.stderr.spoken.clear()
            session._touched = sshsession.time.monotonic()
        await asyncio.wait_for(watch, 20)
        return process, loop.time() - began

    return asyncio.run(run())


def test_nobody_there_is_warned_then_hung_up_on():
    process, lived = idle(0.4)
    assert process.closed
    assert process.stderr.said == b"\r\nnothing typed for long: this session ends in 0 s\r\n"
    assert lived >= 0.4


def test_a_key_after_the_warning_begins_anew():
    process, lived = idle(0.4, touches=2)
    assert process.closed
    assert b"nothing typed for long" in process.stderr.said
    assert lived >= 0.9


def test_zero_never_ends():
    async def run():
        process = Process()
        session = Session(Settings([], idle_seconds=0), None, Tree(schema()), process, Known("a", "s", "admin"))
        session._touched -= 1_000_000
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session._watch(), 0.2)
        return process

    process = asyncio.run(run())
    assert not process.closed
    assert not process.stderr.said


@pytest.mark.parametrize("limit", [{"sessions": 1}, {"sessions_of_user": 1}, {}])
def test_so_many_sessions_and_no_more(limit, monkeypatch):
    async def known_of(connection, pool):
        return Known("anna", "s", "admin")

    async def run():
        ending = asyncio.Event()

        async def work(session):
            await ending.wait()
            return 0

        monkeypatch.setattr(sshsession, "known_of", known_of)
        monkeypatch.setattr(Session, "run", work)
        sessions = Sessions(Settings([], **limit), None)
        first, second, third = Process(), Process(), Process()
        running = asyncio.create_task(sessions.handle(first))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if not limit:
            ending.set()
        await sessions.handle(second)
        ending.set()
        await running
        await sessions.handle(third)
        return first, second, third

    first, second, third = asyncio.run(run())
    assert (first.status, third.status) == (0, 0)
    assert second.status == (69 if limit else 0)
    assert (b"too many sessions" in second.stderr.said) == bool(limit)


def test_a_new_idle_time_holds_for_sessions_that_are_there():
    async def run():
        process, settings = Process(), Settings([], idle_seconds=900.0, host="c")
        session = Session(settings, None, Tree(schema()), process, Known("a", "s", "admin"))
        watch = asyncio.create_task(session._watch())
        await asyncio.sleep(0)
        assert not process.closed
        settings.renew({"idle_seconds": 0.2, "banner": "b", "host": "x"})
        await asyncio.wait_for(watch, 20)
        return process, settings

    process, settings = asyncio.run(run())
    assert process.closed
    assert (settings.banner, settings.host) == ("b", "c")

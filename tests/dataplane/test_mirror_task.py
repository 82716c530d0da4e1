"""One conntrackd for all pairs of an engine: it outlives the pair it was begun for."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest

from dataplane import links, mirror
from dataplane.failover_model import Link, Pair

FIRST = Pair((Link("lo", "127.0.0.1", "127.0.0.2"),), preferred=True, heartbeat=0.1, mirror=True)
SECOND = replace(FIRST, links=(Link("lo", "127.0.0.3", "127.0.0.4"),), preferred=False)
QUIET = replace(FIRST, mirror=False)
WAIT = 10.0


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """What the stand-in for conntrackd was started with: the address it spoke from, once for each start."""
    said = tmp_path / "begun"
    said.touch()
    program = tmp_path / "conntrackd"
    program.write_text(f'#!/bin/sh\ngrep -m1 IPv4_address "$2" >> {said}\nexec sleep 60\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(links, "address_rows", list)
    monkeypatch.setattr(mirror, "RESTART_SECONDS", 0.01)
    return lambda: [line.split()[1] for line in said.read_text().splitlines()]


async def until(true):
    async with asyncio.timeout(WAIT):
        while not true():  # noqa: ASYNC110  (another process writes)
            await asyncio.sleep(0.01)


def test_one_serves_two_pairs_and_goes_on_for_the_other(tmp_path, begun):
    async def run():
        made = mirror.Mirror(tmp_path)
        await made.follow({1: FIRST, 2: SECOND})
        await until(lambda: begun() == ["127.0.0.1"])
        await made.follow({1: FIRST, 2: SECOND})
        assert begun() == ["127.0.0.1"]
        await made.follow({2: SECOND})
        await until(lambda: begun() == ["127.0.0.1", "127.0.0.3"])
        assert made.running
        await made.follow({2: QUIET})
        assert not made.running

    asyncio.run(run())


def test_one_that_dies_comes_back_once(tmp_path, begun):
    async def run():
        made = mirror.Mirror(tmp_path)
        await made.follow({1: FIRST})
        await until(lambda: len(begun()) == 1)
        made._process.kill()
        await made.follow({1: replace(FIRST, preferred=False)})
        await until(lambda: len(begun()) == 2 and made.running)
        await made.follow({})
        assert not made.running
        assert len(begun()) == 2

    asyncio.run(run())

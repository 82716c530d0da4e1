"""What the tables hold is known after a restart only while the chain of generations is whole."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from states import every_construct

from dataplane import agent, nftrun, remembered
from dataplane.diff import diff
from dataplane.local import LocalDriver
from dataplane.model import SeState
from dataplane.remembered import Remembered, digest

OLD = every_construct()
NEW = replace(OLD, services=dict(list(OLD.services.items())[1:]), switches={"routing": False})


@pytest.fixture
def kernel(monkeypatch):
    """The generation that the kernel tells."""
    numbers = {"now": 7}
    monkeypatch.setattr(remembered.nftread, "generation", lambda: numbers["now"])
    return numbers


@pytest.fixture
def kept(kernel, tmp_path):
    """A memory of OLD."""
    memory = Remembered(tmp_path / "se1.tables")
    memory.keep(OLD, kernel["now"])
    return memory


def test_the_next_one_knows(kept, tmp_path):
    again = Remembered(tmp_path / "se1.tables")
    assert again.holds(OLD)
    assert not again.holds(NEW)


def test_a_change_of_ours_is_followed(kept, kernel, tmp_path):
    kernel["now"] = 8
    kept.moved(diff(OLD, NEW), 7)
    again = Remembered(tmp_path / "se1.tables")
    assert (again.holds(NEW), again.holds(OLD)) == (True, False)
    again.moved(diff(NEW, OLD), 8)  # nothing in the tables
    assert Remembered(tmp_path / "se1.tables").holds(OLD)


@pytest.mark.parametrize(("before", "now"), [(7, 9), (8, 9)])
def test_a_change_of_others_breaks_the_chain(kept, kernel, tmp_path, before, now):
    kernel["now"] = now
    kept.moved(diff(OLD, NEW), before)
    assert not Remembered(tmp_path / "se1.tables").holds(NEW)


def test_a_change_of_others_behind_ours_is_seen(kept, kernel):
    kernel["now"] = 8
    assert not kept.holds(OLD)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"where": 1}', "\0"])
def test_a_damaged_file_tells_nothing(kept, tmp_path, text):
    (tmp_path / "se1.tables").write_text(text)
    assert not Remembered(tmp_path / "se1.tables").holds(OLD)


@pytest.mark.parametrize("part", ["_where", "_code"])
def test_another_namespace_or_release_knows_nothing(kept, tmp_path, monkeypatch, part):
    monkeypatch.setattr(remembered, part, lambda: "another")
    assert not Remembered(tmp_path / "se1.tables").holds(OLD)


def test_a_full_disk_only_costs_time(kernel, tmp_path):
    memory = Remembered(tmp_path / "missing" / "se1.tables")
    memory.keep(OLD, kernel["now"])
    assert not memory.holds(OLD)


def test_every_entry_counts():
    numbers = {digest(OLD), digest(NEW), digest(SeState()), digest(replace(OLD, nat={}))}
    assert len(numbers) == 4


@pytest.mark.root
def test_an_agent_started_again_lists_only_what_others_have_touched(tmp_path, monkeypatch):
    name, memory = f"t{os.getpid()}rem", tmp_path / "se1.tables"
    listed = []
    listing = nftrun.listing
    monkeypatch.setattr(nftrun, "listing", lambda family: listed.append(family) or listing(family))
    state = replace(OLD, addresses={}, routes={}, pairs={})
    plain = replace(state, nat={})

    def run():
        agent.enter(name)
        LocalDriver(memory).sync(plain, 1)
        first = LocalDriver(memory)
        listed.clear()
        assert first.sync(plain, 1) == []
        first.apply(diff(plain, state), 1, 2)
        assert LocalDriver(memory).sync(state, 2) == []
        assert listed == []
        subprocess.run(["nft", "flush", "chain", "ip", "avish", "forward"], check=True)
        assert LocalDriver(memory).sync(state, 2) == ["nftables chain forward has other rules"]
        assert listed == ["ip", "ip6"]
        assert LocalDriver(memory).sync(state, 2) == []
        assert listed == ["ip", "ip6"]

    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(run).result()
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)

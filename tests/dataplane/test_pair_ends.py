"""Pairs without keepalived: who may step down, and that nothing stays behind."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from dataplane import agent, failover
from dataplane.errors import RefusedError
from dataplane.failover_model import Link, Pair
from dataplane.model import Address, SeState

LINK = Link("lo", "127.0.0.1", "127.0.0.2")


@pytest.mark.parametrize("preferred", [True, False])
def test_what_would_be_undone_at_once_is_refused(tmp_path, monkeypatch, preferred):
    made = failover.Failover(tmp_path / "se1.sock", lambda _: None)
    member = failover._Member(1, Pair((LINK,), preferred=preferred, heartbeat=0.1, preempt=True), lambda: 0.0)
    member.role = "active"
    made._members[1] = member
    monkeypatch.setattr(made._peers, "alive", lambda _: True)
    if preferred:
        with pytest.raises(RefusedError, match="auto_redistribute_active_standby_load gives the load back"):
            made.step_down(1)
    else:
        made.step_down(1)
    assert member.role == ("active" if preferred else "electing")


@pytest.mark.root
def test_who_leaves_takes_the_gate_and_the_files_along(tmp_path):
    name = f"t{os.getpid()}lv"
    state = SeState(
        addresses={"192.0.2.50": Address("192.0.2.50", "lo", "vip", 1)},
        pairs={1: Pair((LINK,), preferred=True, heartbeat=0.1)},
    )

    def tables():
        return subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout

    def run():
        agent.enter(name)
        made = failover.Failover(tmp_path / "se1.sock", lambda _: None)
        made.guard(state)
        made.follow(state)
        before = tables(), (tmp_path / "se1.pairs").is_dir()
        made.leave()
        return before, tables(), list(tmp_path.iterdir())

    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        with ThreadPoolExecutor(1) as thread:
            (there, folder), left, files = thread.submit(run).result()
        assert "netdev avish_pair" in there
        assert folder
        assert (left, files) == ("", [])
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)

"""Batches of our own lead to the same tables as nft does."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from states import SERVICES

from dataplane import agent, nft, nftraw, nftrun, ruleset
from dataplane.diff import diff
from dataplane.errors import RefusedError
from dataplane.model import Listener, Service, SeState
from dataplane.rulewords import BOTH

EMPTY = SeState()
MORE = (("10.1.2.3", 99), ("fd02::99", 99))


def change_between(old, new):
    return nft.Change(tuple(ruleset.touched(old, new, diff(old, new), words) for words in BOTH))


@pytest.fixture(scope="module")
def inside():
    """Runs a function in an empty namespace; only that thread is in it."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    name = f"t{os.getpid()}raw"
    subprocess.run(["ip", "netns", "add", name], check=True)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(agent.enter, name).result()
        yield lambda function, *words: thread.submit(function, *words).result()
    subprocess.run(["ip", "netns", "del", name], check=True)


def differences(state):
    return [
        difference
        for words in BOTH
        for difference in nft.differences(ruleset.render(state, words), nft.parse(nftrun.listing(words.family) or ""))
    ]


def walk(states):
    """From each state to the next, encoded where that can be; gives how many steps were."""
    for words in BOTH:
        nftrun.load(nft.replacement(ruleset.render(EMPTY, words)))
    raw = 0
    held = EMPTY
    for state in states:
        change = change_between(held, state)
        nftrun.check(change)
        assert differences(held) == []
        raw += nftraw.encode(change, commit=True) is not None
        nftrun.Loader().load(change)
        assert differences(state) == []
        held = state
    return raw


@pytest.mark.root
@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.id)
def test_the_tables_are_those_that_nft_makes(inside, service):
    there = SeState(services={service.id: service})
    changed = SeState(services={service.id: replace(service, slots=service.slots[:1] + MORE)})
    least = 1 if service.ftp or service.idle else 3  # objects of connection tracking are left to nft
    assert inside(walk, [there, EMPTY, there, changed, EMPTY]) >= least


@pytest.mark.root
def test_what_the_kernel_refuses_leaves_nothing(inside):
    inside(walk, [])
    service = Service(1, (Listener("10.0.0.1", "tcp", 80, 80),), "round_robin", MORE)
    there = SeState(services={1: service})
    twice = change_between(there, SeState(services={1: replace(service, slots=())}))
    with pytest.raises(RefusedError, match="nftables refused the change: No such file"):
        inside(nftrun.check, twice)
    with pytest.raises(RefusedError, match="nftables refused the change: No such file"):
        inside(nftrun.Loader().load, twice)
    assert inside(differences, EMPTY) == []


def test_what_is_not_known_is_left_to_nft():
    assert nftraw.encode(change_between(EMPTY, SeState(switches={"routing": True})), commit=True) is None
    assert nftraw.encode(change_between(EMPTY, EMPTY), commit=True) == b""

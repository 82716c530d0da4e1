"""An agent killed at every point of a change: the services are the old or the new ones; the next agent is soon in step."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from dying_agent import POINTS
from test_driver_contract import FTP, STATE, WEB, assert_holds, listeners, own_addresses, own_routes

from dataplane.diff import diff
from dataplane.errors import UnreachableError
from dataplane.model import Address, Limits, Listener, Rate, Route

pytestmark = pytest.mark.root
CONVERGED_SECONDS = 2.0
NEW = replace(
    STATE,
    addresses={
        **{ip: one for ip, one in STATE.addresses.items() if ip != "10.99.0.1"},
        "10.81.0.53": Address("10.81.0.53", "eth1", "vip"),
    },
    routes={"10.76.0.0/24": Route("10.76.0.0/24", "10.81.0.10")},
    services={
        1: replace(FTP, slots=FTP.slots[:1], limits=Limits(Rate(7))),
        2: WEB,
        3: replace(FTP, id=3, listeners=(Listener("10.81.0.53", "tcp", 21, 21),)),
    },
    timeouts={"icmp": 7, "tcp established": 300},
)
SMALL = replace(STATE, services={**STATE.services, 1: replace(FTP, slots=FTP.slots[:1])})
"""What goes into the kernel without nft."""


@pytest.fixture
def dying(lab, tmp_path, request):
    """The lab with an agent that dies at a point once it is armed; the usual one comes back."""
    lab.kill()
    program = [sys.executable, request.config.rootpath / "tests/support/dying_agent.py"]
    where = ["--namespace", lab.name("e"), "--socket", str(lab.socket), "--unwatched"]
    environment = {**os.environ, "PYTHONPATH": str(request.config.rootpath)}
    lab.process = subprocess.Popen(
        [*program, request.param, tmp_path / "armed", *where], stderr=subprocess.PIPE, text=True, env=environment
    )
    while "serving" not in (line := lab.process.stderr.readline()):
        assert line, "the agent ended"
    yield lab, tmp_path / "armed"
    if lab.process is None:
        lab.start()


def ports(state):
    return {
        (one.ip, one.protocol, one.first, one.last, key) for key, it in state.services.items() for one in it.listeners
    }


def rules(lab):
    """The tables without what counts, and the order of what has none."""
    text = lab.inside("e", "nft", "-s", "list", "table", "ip", "avish")
    return sorted(line for line in text.splitlines() if "counter" not in line)


@pytest.mark.parametrize("new", [NEW, SMALL], ids=["nft", "batch"])
@pytest.mark.parametrize("dying", POINTS, indirect=True)
def test_old_or_new_and_soon_in_step(dying, new):
    lab, armed = dying
    lab.driver.sync(new, 1)
    wanted = {"new": rules(lab)}
    lab.driver.sync(STATE, 2)
    wanted["old"] = rules(lab)
    armed.touch()
    try:
        lab.driver.apply(diff(STATE, new), 2, 3)
    except UnreachableError:
        lab.kill()
    else:  # a point that this change does not come to
        assert new is SMALL
    armed.unlink()
    found = rules(lab)
    assert found in wanted.values(), "the tables are between"
    if lab.process is None:
        lab.start()
    began = time.monotonic()
    lab.driver.sync(new, 3)
    assert time.monotonic() - began < CONVERGED_SECONDS
    assert_holds(lab.driver, new)
    assert rules(lab) == wanted["new"]
    assert listeners(lab.driver) == ports(new)
    assert own_addresses(lab.driver)
    assert own_routes(lab.driver)

"""A controller killed at every step of a commit, on real kernels: what is in force then is the old state or the new."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dying import KEPT, STEPS
from test_services import service

from avish.api.client import Client
from avish.errors import UnavailableError

pytestmark = pytest.mark.root
PATIENCE = 30.0
DYING = Path(__file__).parents[1] / "support" / "dying.py"


@pytest.fixture(scope="module")
def killed(plain):
    """The lab without its controller; a service on port 80."""
    service(plain, "k", "10.77.1.60")
    return plain


def until(what):
    """Wait for something to be true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < deadline, "it does not happen"
        select.select([], [], [], 0.02)
    return found


def in_step(home):
    try:
        report = Client(home).call("GET", "/api/avish/status").body
    except UnavailableError:
        return None
    return report if all(engine["status"] == "connected" for engine in report["engines"]) else None


def end(home):
    """The controller goes at once; it is not the shell's to ask."""
    report = until(lambda: in_step(home))
    handle = os.pidfd_open(report["pid"])
    os.kill(report["pid"], 9)
    assert select.select([handle], [], [], PATIENCE)[0]
    os.close(handle)


def port_in_force(home):
    return Client(home).call("GET", "/api/virtualservice", {"name": "k"}).body["results"][0]["services"][0]["port"]


def change(home, port):
    body = Client(home).call("GET", "/api/virtualservice", {"name": "k"}).body["results"][0]
    body["services"] = [{"port": port}]
    return Client(home).call("PUT", f"/api/virtualservice/{body['uuid']}", None, body)


@pytest.mark.parametrize("step", STEPS)
def test_killed_behind(killed, step):
    end(killed.home)
    armed = killed.home / "armed"
    with (killed.home / "log" / "dying.log").open("ab") as log:
        dying = subprocess.Popen([sys.executable, DYING, killed.home, step], stdout=log, stderr=log)
    until(lambda: in_step(killed.home))
    before = port_in_force(killed.home)
    after = 80 if before != 80 else 8080
    armed.touch()
    try:
        with pytest.raises(UnavailableError, match="broke during a change"):
            change(killed.home, after)
        assert dying.wait(PATIENCE) == -9
    finally:
        armed.unlink()
    assert killed.avishd("up", killed.home.parent / "plain.yaml").returncode == 0
    until(lambda: in_step(killed.home))
    expected = after if step in KEPT else before
    assert port_in_force(killed.home) == expected
    check = killed.avishd("check")
    assert check.returncode == 0, check.stdout
    assert killed.call("c1", "tcp", "10.77.1.60", expected)[0].startswith("s")
    assert change(killed.home, before + after - expected).status == 200

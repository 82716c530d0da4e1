"""An FTP session through the death of the active engine, when the profile mirrors connections; and the drill."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from site_lab import running

pytestmark = pytest.mark.root
ROOT = Path(__file__).resolve().parents[2]
SIZE = 100_000_000
PATIENCE = 20.0
MIRROR = """
configure networkprofile mirrored
profile type protocol_type_tcp_fast_path tcp_fast_path_profile session_idle_timeout 300
save
connection_mirror
save
configure virtualservice ftp-vs
network_profile_ref mirrored
save
"""


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """The founding lab with a large file on both servers; and its checksum."""
    folder = tmp_path_factory.mktemp("mirror")
    lab = folder / "lab"
    shutil.copytree(ROOT / "fixtures/topologies", lab)
    folder.chmod(0o755)
    data = random.Random(4).randbytes(SIZE)
    for server in ("ftp1", "ftp2"):
        (lab / "ftp" / server / "big.bin").write_bytes(data)
    with running(lab / "active-ftp.yaml", folder, f"t{os.getpid()}m") as site:
        site.do((ROOT / "fixtures/runbooks/active-ftp.avi").read_text())
        site.do(MIRROR)
        wait_until_both_are_well(site)
        yield site, hashlib.sha256(data).hexdigest()


def summary(site, name):
    return json.loads(site.shell(f"show serviceengine {name} summary\n", "--json").stdout)


def wait_until_both_are_well(site):
    deadline = time.monotonic() + PATIENCE
    while True:
        found = [summary(site, name) for name in ("se1", "se2")]
        roles = sorted(one["pair"][0]["role"] for one in found)
        if roles == ["ACTIVE", "STANDBY"] and all(one["connection_mirror"] for one in found):
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def active(site):
    return next(name for name in ("se1", "se2") if summary(site, name).get("active_tags"))


def test_a_control_connection_and_a_running_transfer_survive(mirrored):
    site, checksum = mirrored
    was = active(site)
    argv = [sys.executable, str(Path(__file__).parent / "fetch.py"), "10.10.10.50", "big.bin", "0.003"]
    command = ["ip", "netns", "exec", f"{site.prefix}-client1", *argv]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout.readline() == "half\n"
        drilled = json.loads(site.shell(f"drill failover {was}\n", "--json").stdout)
        rest = session.stdout.read().splitlines()
    assert rest == [f"{checksum} {SIZE}", "again 29"]
    assert (drilled["from"], drilled["flows_lost"]) == (was, 0)
    assert drilled["flows_before"] >= 2
    assert active(site) != was


def test_the_drill_measures_and_says_what_it_cannot_do(mirrored):
    site, _ = mirrored
    wait_until_both_are_well(site)
    was = active(site)
    standby = {"se1": "se2", "se2": "se1"}[was]
    refused = site.shell(f"drill failover {standby}\n")
    assert refused.returncode == 1
    assert "is not the active one" in refused.stderr
    drilled = json.loads(site.shell("drill failover\n", "--json").stdout)
    assert (drilled["from"], drilled["to"]) == (was, standby)
    assert 0 < drilled["outage_ms"] <= 400

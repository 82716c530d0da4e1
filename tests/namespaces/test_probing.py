"""Servers that fail and come back, as their clients see it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter

import pytest
from test_services import names, service

pytestmark = pytest.mark.root
MONITOR = """
configure healthmonitor quick
type health_monitor_tcp
send_interval 2
receive_timeout 1
failed_checks 1
save
"""
PATIENCE = 15.0


@pytest.fixture(scope="module")
def watched(plain):
    """A service whose pool is watched, when its servers have started."""
    deadline = time.monotonic() + PATIENCE
    for server in ("10.77.2.101", "10.77.2.102"):
        while not names(plain.call("c1", "tcp", server, 80)).keys() & {"s1", "s2"}:
            assert time.monotonic() < deadline
    plain.do(MONITOR)
    vip = service(plain, "watched", "10.77.1.60", pool="health_monitor_refs quick")
    return plain, vip


def summary(site, kind, name):
    return json.loads(site.shell(f"show {kind} {name} summary\n", "--json").stdout)


def wait_for(site, servers):
    deadline = time.monotonic() + PATIENCE
    while (found := summary(site, "pool", "watched")["num_servers_up"]) != servers:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def processes(site, host):
    found = subprocess.run(["ip", "netns", "pids", f"{site.prefix}-{host}"], capture_output=True, text=True, check=True)
    return [int(pid) for pid in found.stdout.split()]


def test_it_is_up_when_it_is_saved(watched):
    site, vip = watched
    status = summary(site, "virtualservice", "watched")["oper_status"]
    assert status["state"] == "OPER_UP", status
    assert names(site.call("c1", "tcp", vip, 80, 4)) == {"s1": 2, "s2": 2}


def test_a_server_that_hangs_gets_nothing_until_it_answers_again(watched):
    """A frozen process: its kernel still completes handshakes until nobody may, so the port is closed as well."""
    site, vip = watched
    assert site.inside("s1", "nft", "add table ip closed").returncode == 0
    site.inside("s1", "nft", "add chain ip closed in { type filter hook input priority 0; }")
    site.inside("s1", "nft", "add rule ip closed in tcp dport 80 drop")
    wait_for(site, 1)
    status = json.loads(site.shell("show pool watched server summary\n", "--json").stdout)
    down = next(row for row in status if row["ip_addr"]["addr"] == "10.77.2.101")
    assert down["oper_status"]["state"] == "OPER_DOWN"
    assert down["oper_status"]["reason"] == ["quick: no answer within 1 s"]
    assert names(site.call("c1", "tcp", vip, 80, 4)) == {"s2": 4}
    assert site.avishd("check").returncode == 0
    site.inside("s1", "nft", "delete table ip closed")
    wait_for(site, 2)
    assert names(site.call("c1", "tcp", vip, 80, 4)) == {"s1": 2, "s2": 2}


def test_without_a_server_the_service_is_down_and_refuses(watched):
    site, vip = watched
    for host in ("s1", "s2"):
        site.inside(host, "nft", "add table ip closed")
        site.inside(host, "nft", "add chain ip closed in { type filter hook input priority 0; }")
        site.inside(host, "nft", "add rule ip closed in tcp dport 80 reject with tcp reset")
    wait_for(site, 0)
    found = summary(site, "virtualservice", "watched")["oper_status"]
    assert found["state"] == "OPER_DOWN"
    assert "10.77.2.101:80 quick: connection refused" in found["reason"][0]
    assert Counter(site.call("c1", "tcp", vip, 80, 2)) == {"ConnectionRefusedError": 2}
    for host in ("s1", "s2"):
        site.inside(host, "nft", "delete table ip closed")
    wait_for(site, 2)


def test_it_goes_on_while_the_controller_is_away_and_the_next_agent_remembers(watched):
    """The agents are frozen with the controller gone; the one that is started again does not begin with nothing."""
    site, vip = watched
    agents = [pid for host in ("se1", "se2") for pid in processes(site, host)]
    assert len(agents) >= 2
    site.inside("s2", "nft", "add table ip closed")
    site.inside("s2", "nft", "add chain ip closed in { type filter hook input priority 0; }")
    site.inside("s2", "nft", "add rule ip closed in tcp dport 80 drop")
    wait_for(site, 1)
    for pid in agents:
        with subprocess.Popen(["kill", f"-{signal.SIGKILL.value}", str(pid)]):
            pass
    deadline = time.monotonic() + PATIENCE
    while site.avishd("check").returncode and time.monotonic() < deadline:
        time.sleep(0.2)
    assert names(site.call("c1", "tcp", vip, 80, 4)) == {"s1": 4}
    site.inside("s2", "nft", "delete table ip closed")
    wait_for(site, 2)

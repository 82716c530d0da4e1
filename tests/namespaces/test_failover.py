"""Two engines of a pair, and all that can happen to the active one, as the neighbours see it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_services import service

pytestmark = pytest.mark.root
VIP = "10.77.1.70"
GAPS = str(Path(__file__).parent / "gaps.py")
PATIENCE = 20.0
LONGEST_GAP = 400
"""Milliseconds without an answer, with the defaults."""


@pytest.fixture(scope="module")
def paired(plain):
    service(plain, "paired", VIP)
    return plain


def tags(site, engine):
    return json.loads(site.shell(f"show serviceengine {engine} summary\n", "--json").stdout).get("active_tags", [])


def both(site):
    return {name: tags(site, name) for name in ("se1", "se2")}


def wait_for_active(site, engine):
    """Until this engine alone is active, and the other one well again."""
    deadline = time.monotonic() + PATIENCE
    wanted = {name: ["ACTIVE_STANDBY_SE_1"] if name == engine else [] for name in ("se1", "se2")}
    while both(site) != wanted or not settled(site):
        assert time.monotonic() < deadline, both(site)
        time.sleep(0.1)


def settled(site):
    found = [json.loads(site.shell(f"show serviceengine {name} summary\n", "--json").stdout) for name in ("se1", "se2")]
    if not all("hb_status" in one for one in found):  # a new election has just begun
        return False
    return all(one["hb_status"]["peer_alive"] and one["pair"][0]["role"] in ("ACTIVE", "STANDBY") for one in found)


def active(site):
    return next(name for name, found in both(site).items() if found)


def other(name):
    return {"se1": "se2", "se2": "se1"}[name]


def processes(site, engine, word):
    """Of an engine, those whose command line has a word in it."""
    found = subprocess.run(
        ["ip", "netns", "pids", f"{site.prefix}-{engine}"], capture_output=True, text=True, check=True
    )
    pids = [int(pid) for pid in found.stdout.split()]
    return [pid for pid in pids if word in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()]


def end(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def gap(site, act, seconds=3.0, address=VIP):
    """Do it while a neighbour asks for an address all the time: the longest time without an answer, in milliseconds."""
    argv = ["ip", "netns", "exec", f"{site.prefix}-c1", sys.executable, GAPS, address, str(seconds)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as asking:
        time.sleep(0.5)
        act()
        longest, answers = map(int, asking.communicate()[0].split())
    assert answers > 100
    return longest


def cut(site, engine, *interfaces, up):
    """The other ends of the links, as if somebody pulled the cables."""
    net = f"{site.prefix}-net"
    for name in interfaces:
        shown = subprocess.run(
            ["ip", "-j", "-n", f"{site.prefix}-{engine}", "link", "show", name],
            capture_output=True,
            text=True,
            check=True,
        )
        index = json.loads(shown.stdout)[0]["link_index"]
        links = json.loads(
            subprocess.run(["ip", "-j", "-n", net, "link"], capture_output=True, text=True, check=True).stdout
        )
        port = next(link["ifname"] for link in links if link["ifindex"] == index)
        subprocess.run(["ip", "-n", net, "link", "set", port, "up" if up else "down"], check=True)


def test_the_first_engine_is_active_and_the_other_holds_the_address_in_silence(paired):
    wait_for_active(paired, "se1")
    assert VIP in paired.inside("se2", "ip", "-4", "addr").stdout
    assert paired.call("c1", "tcp", VIP, 80)[0].split()[0] in ("s1", "s2")
    status = json.loads(paired.shell("show virtualservice paired summary\n", "--json").stdout)
    found = {one["name"]: (one["primary"], one["standby"]) for one in status["vip_summary"][0]["service_engine"]}
    assert found == {"se1": (True, False), "se2": (False, True)}
    assert paired.avishd("check").returncode == 0


@pytest.mark.parametrize(
    "interfaces", [("eth1",), ("eth2",), ("eth1", "eth2")], ids=["front cut", "back cut", "both cut"]
)
def test_links_cut(paired, interfaces):
    was = active(paired)
    assert gap(paired, lambda: cut(paired, was, *interfaces, up=False)) <= LONGEST_GAP
    assert tags(paired, other(was)) == ["ACTIVE_STANDBY_SE_1"]
    longest = gap(paired, lambda: cut(paired, was, *interfaces, up=True))
    assert longest < 100, "nothing moves back by itself"
    wait_for_active(paired, other(was))


@pytest.mark.parametrize("word", ["dataplane.agent", "keepalived"])
def test_processes_killed(paired, word):
    was = active(paired)
    assert gap(paired, lambda: end(processes(paired, was, word), signal.SIGKILL)) <= LONGEST_GAP
    wait_for_active(paired, other(was))
    assert paired.call("c1", "tcp", VIP, 80)[0].split()[0] in ("s1", "s2")


def test_an_engine_frozen_and_resumed(paired):
    was = active(paired)
    frozen = processes(paired, was, "")
    assert gap(paired, lambda: end(frozen, signal.SIGSTOP)) <= LONGEST_GAP
    assert gap(paired, lambda: end(frozen, signal.SIGCONT)) < 100, "it does not take back what it lost"
    wait_for_active(paired, other(was))


def test_a_switchover(paired):
    was = active(paired)
    refused = paired.shell(f"switchover serviceengine {other(was)}\n")
    assert refused.returncode == 1
    assert "is not the active one" in refused.stderr
    assert gap(paired, lambda: paired.do(f"switchover serviceengine {was}\n")) <= 200
    wait_for_active(paired, other(was))
    assert gap(paired, lambda: paired.do("switchover virtualservice paired\n")) <= 200
    wait_for_active(paired, was)


GATEWAY = """
configure vrfcontext global
gateway_mon gateway_ip 10.77.1.100 gateway_monitor_interval 100 gateway_monitor_fail_threshold 3
save
save
"""
LOSE = ["add table ip lost", "add chain ip lost out { type filter hook output priority 0; }"]
RULE = "add rule ip lost out ip daddr 10.77.1.100 icmp type echo-request drop"


def lose_gateway(site, engine):
    for words in (*LOSE, RULE):
        assert site.inside(engine, "nft", words).returncode == 0


def wait_for_gateway(site, engine, up):
    deadline = time.monotonic() + PATIENCE
    while json.loads(site.shell(f"show serviceengine {engine} summary\n", "--json").stdout)["gateway_up"] != up:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_gateways(paired):
    """Only the active engine loses it: it hands over. Both lose it: nothing moves."""
    paired.do(GATEWAY)
    was = active(paired)
    wait_for_active(paired, was)
    lose_gateway(paired, was)
    wait_for_active(paired, other(was))
    lose_gateway(paired, other(was))
    wait_for_gateway(paired, other(was), up=False)
    wait_for_active(paired, other(was))
    for name in (was, other(was)):
        paired.inside(name, "nft", "delete table ip lost")

"""Never two engines that answer for an address, never none, for longer than it takes to notice: asked of everybody."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import ROUTING
from site_lab import running
from test_failover import active, both, end, other, processes, wait_for_active
from test_services import service

pytestmark = pytest.mark.root
HERE = Path(__file__).parent
VIP, SIX, SECOND = "10.77.1.72", "fd77:1::72", "10.77.1.73"
LONGEST = 400
"""Milliseconds; three heartbeats are 240."""
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
TOPOLOGY = """
name: truth
networks:
  front: {subnet: 10.77.1.0/24}
  six: {subnet: "fd77:1::/64"}
  back: {subnet: 10.77.2.0/24}
serviceengines:
  se1:
    interfaces:
      eth1: {network: front, ip: 10.77.1.11}
      eth2: {network: back, ip: 10.77.2.11}
      eth3: {network: six, ip: "fd77:1::11"}
  se2:
    interfaces:
      eth1: {network: front, ip: 10.77.1.12}
      eth2: {network: back, ip: 10.77.2.12}
      eth3: {network: six, ip: "fd77:1::12"}
hosts:
  c1:
    interfaces:
      eth0: {network: front, ip: 10.77.1.100}
      eth1: {network: six, ip: "fd77:1::100"}
    routes: [{to: 10.77.2.0/24, via: 10.77.1.1}]
  s1: {network: back, ip: 10.77.2.101, gateway: 10.77.2.1, run: [[python3, answer.py, s1]]}
  s2: {network: back, ip: 10.77.2.102, gateway: 10.77.2.2, run: [[python3, answer.py, s2]]}
"""


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    """The file that says by how much the clock of the engines is wrong."""
    assert FAKETIME is not None, "libfaketime is missing: make setup installs it"
    return tmp_path_factory.mktemp("clock") / "offset"


@pytest.fixture(scope="module")
def truth(tmp_path_factory, clock):
    """A pair whose agents, with all that they start, take the time from a file."""
    folder = tmp_path_factory.mktemp("truth")
    (folder / "truth.yaml").write_text(TOPOLOGY)
    shutil.copy(HERE / "answer.py", folder)
    jump(clock, "+0")
    pretend = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in pretend.items():
            patch.setenv(name, value)
        with running(folder / "truth.yaml", folder, f"t{os.getpid()}h") as site:
            for name in pretend:
                patch.delenv(name)
            site.do(ROUTING.format(floating="floating_intf_ip 10.77.1.1\nfloating_intf_ip 10.77.2.1"))
            service(site, "first", VIP)
            yield site


def jump(clock, offset):
    part = clock.with_suffix(".part")
    part.write_text(offset + "\n")
    part.replace(clock)


def asked(site, act, vip=VIP, seconds=3.0):
    """Do it while everybody on the segment is asked; (longest time of silence, longest time of two answers)."""
    argv = [
        "ip",
        "netns",
        "exec",
        f"{site.prefix}-c1",
        sys.executable,
        str(HERE / "twice.py"),
        "eth0",
        vip,
        str(seconds),
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as asking:
        time.sleep(0.5)
        act()
        gap, twice, answers = map(int, asking.communicate()[0].split())
    assert answers > 50
    return gap, twice


def fine(found, longest=LONGEST):
    gap, twice = found
    assert gap <= longest
    assert twice <= longest


def ports(site, engine):
    """The other ends of its links to networks."""
    net = f"{site.prefix}-net"

    def links(*words):
        done = subprocess.run(["ip", "-j", *words], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    every = {link["ifindex"]: link["ifname"] for link in links("-n", net, "link")}
    own = links("-n", f"{site.prefix}-{engine}", "link")
    return [every[link["link_index"]] for link in own if link["ifname"].startswith("eth")]


def lose(site, engine, *directions):
    """Frames are lost, and no link goes down."""
    rules = "".join(f"{way} {{ {', '.join(ports(site, engine))} }} drop\n" for way in directions)
    text = f"table bridge cut {{\nchain c {{\ntype filter hook forward priority 0;\n{rules}}}\n}}\n"
    done = site.inside("net", "nft", text)
    assert done.returncode == 0, done.stderr


def mend(site):
    assert site.inside("net", "nft", "delete table bridge cut").returncode == 0


@pytest.mark.parametrize("directions", [("iifname", "oifname"), ("iifname",)], ids=["both ways", "what it sends"])
def test_all_frames_of_the_active_engine_are_lost_in_silence(truth, directions):
    was = active(truth)
    wait_for_active(truth, was)
    try:
        fine(asked(truth, lambda: lose(truth, was, *directions)))
    finally:
        healed = asked(truth, lambda: mend(truth))
    fine(healed)
    wait_for_active(truth, active(truth))


@pytest.mark.parametrize("word", ["dataplane.agent", "keepalived"])
def test_killed(truth, word):
    was = active(truth)
    fine(asked(truth, lambda: end(processes(truth, was, word), signal.SIGKILL)))
    wait_for_active(truth, other(was))


def test_frozen_and_resumed(truth):
    was = active(truth)
    frozen = processes(truth, was, "")
    try:
        fine(asked(truth, lambda: end(frozen, signal.SIGSTOP)))
    finally:
        resumed = asked(truth, lambda: end(frozen, signal.SIGCONT))
    fine(resumed)
    wait_for_active(truth, other(was))


def became_active(site, engine):
    """When, by the engine's own clock."""
    found = json.loads(site.shell(f"show serviceengine {engine} summary\n", "--json").stdout)["pair"][0]
    assert found["role"] == "ACTIVE"
    return datetime.strptime(found["since"], "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize("offset", ["+3600", "-86400"], ids=["ahead", "back"])
def test_the_clock_jumps(truth, clock, offset):
    """Of both engines and all that runs on them; nobody notices."""
    was = active(truth)
    gap, twice = asked(truth, lambda: jump(clock, offset))
    assert gap < 100
    assert twice == 0
    assert active(truth) == was
    fine(asked(truth, lambda: truth.do(f"switchover serviceengine {was}\n")))
    assert abs(became_active(truth, other(was)) - time.time()) > 3000, "the clock did jump"
    jump(clock, "+0")
    wait_for_active(truth, other(was))


def test_an_ipv6_vip_follows(truth):
    truth.do(f"configure vsvip first\nvip vip_id 2 ip6_address {SIX}\nsave\nsave\n")
    was = active(truth)
    wait_for_active(truth, was)

    def reached():
        return truth.inside("c1", "ping", "-6", "-c", "1", "-W", "1", SIX).returncode == 0

    assert reached()
    end(processes(truth, was, "keepalived"), signal.SIGKILL)
    deadline = time.monotonic() + 3
    while not (both(truth)[other(was)] and reached()):
        assert time.monotonic() < deadline
    wait_for_active(truth, other(was))


GROUP = "configure serviceenginegroup Default-Group\n{}\nsave\n"


def test_the_preferred_engine_takes_over_again_when_that_is_asked_for(truth):
    deadline = time.monotonic() + 20
    while not any(both(truth).values()):
        assert time.monotonic() < deadline
    if active(truth) != "se1":
        wait_for_active(truth, "se2")
        truth.do("switchover serviceengine se2\n")
    wait_for_active(truth, "se1")
    truth.do(GROUP.format("auto_redistribute_active_standby_load"))
    wait_for_active(truth, "se1")
    fine(asked(truth, lambda: end(processes(truth, "se1", "keepalived"), signal.SIGKILL), seconds=6.0))
    wait_for_active(truth, "se1")
    truth.do(GROUP.format("no auto_redistribute_active_standby_load"))
    wait_for_active(truth, "se1")


def test_the_load_is_distributed(truth):
    """Each engine answers for the services of its tag; when one dies the other has all."""
    truth.do("delete networkservice routing\n" + GROUP.format("distribute_load_active_standby"))
    truth.do("configure virtualservice first\napplication_profile_ref System-L4-Application\nsave\n")
    truth.do(
        f"configure vsvip second\nvip vip_id 1 ip_address {SECOND}\nsave\nsave\n"
        "configure virtualservice second\nservices port 80\nsave\nvsvip_ref second\npool_ref first\n"
        "network_profile_ref System-TCP-Fast-Path\napplication_profile_ref System-L4-Application\n"
        "active_standby_se_tag active_standby_se_2\nsave\n"
    )
    wanted = {"se1": ["ACTIVE_STANDBY_SE_1"], "se2": ["ACTIVE_STANDBY_SE_2"]}
    deadline = time.monotonic() + 20
    while both(truth) != wanted:
        assert time.monotonic() < deadline, both(truth)
    assert mac(truth, VIP) != mac(truth, SECOND)
    for vip in (VIP, SECOND):
        assert truth.call("c1", "tcp", vip, 80)[0].split()[0] in ("s1", "s2")
    fine(asked(truth, lambda: end(processes(truth, "se2", "dataplane.agent"), signal.SIGKILL), SECOND))
    assert mac(truth, VIP) == mac(truth, SECOND)
    assert truth.call("c1", "tcp", SECOND, 80)[0].split()[0] in ("s1", "s2")


def mac(site, vip):
    """Who answers for an address, as its neighbour knows."""
    found = json.loads(site.inside("c1", "ip", "-j", "neigh", "show", vip).stdout or "[]")
    if not found or "lladdr" not in found[0]:
        site.inside("c1", "ping", "-c", "1", "-W", "1", vip)
        found = json.loads(site.inside("c1", "ip", "-j", "neigh", "show", vip).stdout)
    return found[0]["lladdr"]

"""Addresses and routes by raw netlink, and who is told of them; in a network namespace of the test's own."""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dataplane import agent, links, nftrun, rtnetlink, watch
from dataplane.around import Around
from dataplane.diff import Step
from dataplane.model import Address, Route, SeState

pytestmark = pytest.mark.root
VIPS = [Address(f"10.88.{number // 250}.{number % 250 + 1}", "eth1", "vip") for number in range(3000)]
SIX = Address("fd88::50", "eth1", "vip")
WAY = Route("10.89.0.0/16", "10.88.255.1", "")
ANOTHER = Route("10.89.0.0/16", "10.88.255.2", "eth1")
WITHIN = 5.0


@pytest.fixture
def inside():
    """Runs in a namespace with one interface, eth1."""
    name = f"t{os.getpid()}rt"
    ip = ["ip", "-n", name]
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run([*ip, "link", "add", "eth1", "type", "veth", "peer", "name", "eth2"], check=True)
        subprocess.run([*ip, "addr", "add", "10.88.255.254/16", "dev", "eth1"], check=True)
        for device in ("eth1", "eth2"):
            subprocess.run([*ip, "link", "set", device, "up"], check=True)
        with ThreadPoolExecutor(1, initializer=agent.enter, initargs=(name,)) as thread:
            yield lambda act, *arguments: thread.submit(act, *arguments).result(60)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def put(*values):
    for value in values:
        table, key = ("routes", value.prefix) if isinstance(value, Route) else ("addresses", value.ip)
        links.perform(Step("put", table, key, None, value))


def drop(*values):
    for value in values:
        table, key = ("routes", value.prefix) if isinstance(value, Route) else ("addresses", value.ip)
        links.perform(Step("drop", table, key, value, None))


def test_what_is_put_is_found_and_what_is_dropped_is_not(inside):
    inside(put, VIPS[0], SIX, WAY)
    assert inside(links.own_addresses) == [VIPS[0], SIX]
    assert inside(links.own_routes) == [Route(WAY.prefix, WAY.gateway, "eth1")]
    inside(links.perform, Step("put", "routes", WAY.prefix, WAY, ANOTHER))
    assert inside(links.own_routes) == [ANOTHER]
    inside(drop, VIPS[0], SIX, ANOTHER)
    inside(drop, VIPS[0], SIX, ANOTHER)
    assert inside(links.own_addresses) == []
    assert inside(links.own_routes) == []


def test_surroundings_are_read_again_only_when_others_change_them(inside):
    around, ours = Around(), [*VIPS[:500], SIX, WAY]
    known = [inside(around.now)]
    for value in ours:
        inside(put, value)
        known.append(inside(around.now))
    before = known[-1]
    assert len(set(map(id, known))) < 10, "read again for what is ours, not only for a link that is settling"
    inside(subprocess.run, ["ip", "addr", "add", "10.99.0.1/24", "dev", "eth1"])
    after = inside(around.now)
    assert after.own_addresses == before.own_addresses | {"10.99.0.1"}


class Engine:
    """What the watcher asks; ``repaired`` counts."""

    def __init__(self, addresses, routes=()):
        self.held = SeState({one.ip: one for one in addresses}, {one.prefix: one for one in routes})
        self.repaired = 0

    def keeps(self, ip):
        return ip in self.held.addresses

    may_have = keeps

    def repair(self, *, tables):
        self.repaired += 1
        return []


def reached(engine, count):
    deadline = time.monotonic() + WITHIN
    while engine.repaired < count and time.monotonic() < deadline:
        time.sleep(0.01)
    return engine.repaired == count


def test_the_watcher_leaves_our_own_changes_alone(inside):
    engine = Engine([VIPS[0], SIX], [WAY])
    inside(put, VIPS[0], SIX, WAY)
    inside(watch.Watch(engine, list).start)
    rules = "".join(f"add element ip avish many {{ {one.ip} }}\n" for one in VIPS) * 5
    inside(put, *VIPS[1:])
    inside(drop, *VIPS[1:], WAY)
    inside(nftrun.load, "table ip avish {\n set many { type ipv4_addr; }\n}\n" + rules)
    assert engine.repaired == 0
    inside(subprocess.run, ["ip", "addr", "del", f"{VIPS[0].ip}/32", "dev", "eth1"])
    assert reached(engine, 1)
    inside(subprocess.run, ["nft", "flush", "set", "ip", "avish", "many"])
    assert reached(engine, 2)


def test_what_kinds_of_interfaces_the_kernel_knows_is_found_without_making_one(inside):
    before = inside(links.interfaces)
    assert inside(rtnetlink.knows, "no-such-kind") is False
    assert inside(rtnetlink.knows, "vxlan") is True
    assert inside(rtnetlink.knows, "vlan") is Path("/proc/net/vlan").exists()
    assert inside(links.interfaces) == before

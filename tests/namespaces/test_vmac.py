"""A virtual MAC goes with the addresses: neighbours go on with what they know, whichever engine is active."""

from __future__ import annotations

import json
import signal

import pytest
from balanced import TALK, pool, service, talking
from test_failover import active, cut, end, gap, other, processes, tags, wait_for_active

pytestmark = pytest.mark.root
VIP, GATEWAY = "10.77.1.90", "10.77.2.1"
SWITCH = "configure networkservice routing\nrouting_service\n{}enable_vmac\nsave\nsave\n"


@pytest.fixture(scope="module")
def virtual(plain):
    """A service on one server, and a virtual MAC; the MAC."""
    pool(plain, "talk", {"10.77.2.101": ""}, TALK)
    service(plain, "talk", [VIP], "pool_ref talk", TALK)
    plain.do(SWITCH.format(""))
    wait_for_active(plain, "se1")
    (found,) = shown(plain, "se1")["vmac"]
    yield plain, found
    plain.do(SWITCH.format("no "))


def shown(site, engine):
    done = site.shell(f"show serviceengine {engine} network-service\n", "--json")
    return json.loads(done.stdout)["network_service"][0]["routing_service"]


def known(site, host, ip):
    """The MAC that a host knows of an address, found anew."""
    site.inside(host, "ip", "neigh", "flush", "to", ip)
    site.inside(host, "ping", "-c", "1", "-W", "2", ip)
    return json.loads(site.inside(host, "ip", "-j", "neigh", "show", ip).stdout)[0]["lladdr"]


def filters(site, engine):
    """Which MACs the interfaces of an engine take frames for."""
    rows = json.loads(site.inside(engine, "bridge", "-j", "fdb", "show").stdout)
    return {(row["ifname"], row["mac"]) for row in rows if row["mac"].startswith("00:00:5e:00:01:")}


def test_vips_and_floating_addresses_have_it_and_own_addresses_not(virtual):
    site, mac = virtual
    assert mac.startswith("00:00:5e:00:01:")
    assert known(site, "c1", VIP) == known(site, "s1", GATEWAY) == mac
    assert known(site, "c1", "10.77.1.11") != mac
    assert filters(site, "se1") == {("eth1", mac), ("eth2", mac)}
    assert filters(site, "se2") == set()
    assert site.avishd("check").returncode == 0


def test_a_connection_goes_on_over_an_engine_that_nobody_was_told_of(virtual):
    """Client, server and both their entries stay; they believe no ARP, so nothing but the MAC can lead on."""
    site, mac = virtual
    for host, ip in (("c1", VIP), ("s1", GATEWAY)):
        site.inside(host, "ip", "neigh", "replace", ip, "lladdr", mac, "dev", "eth0", "nud", "permanent")
    was = active(site)
    with talking(site, "c1", VIP, 1) as talker:
        assert talker.ask() == ["s1"]
        assert gap(site, lambda: cut(site, was, "eth1", up=False), address=VIP) <= 400
        assert tags(site, other(was)) == ["ACTIVE_STANDBY_SE_1"]
        assert talker.ask() == ["s1"]
    assert filters(site, other(was)) == {("eth1", mac), ("eth2", mac)}
    cut(site, was, "eth1", up=True)
    wait_for_active(site, other(was))
    assert filters(site, was) == set()


def test_an_engine_that_froze_gives_it_back(virtual):
    site, mac = virtual
    was = active(site)
    frozen = processes(site, was, "")
    assert gap(site, lambda: end(frozen, signal.SIGSTOP), address=VIP) <= 400
    end(frozen, signal.SIGCONT)
    wait_for_active(site, other(was))
    assert known(site, "s2", GATEWAY) == mac
    assert shown(site, other(was))["vmac"] == [mac]


def test_without_it_addresses_have_the_mac_of_the_interface(virtual):
    site, mac = virtual
    site.do(SWITCH.format("no "))
    for host, ip in (("c1", VIP), ("s1", GATEWAY)):
        site.inside(host, "ip", "neigh", "del", ip, "dev", "eth0")
        assert known(site, host, ip) != mac
    assert "vmac" not in shown(site, active(site))
    assert not filters(site, active(site))

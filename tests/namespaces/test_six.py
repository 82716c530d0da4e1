"""A pair of engines whose IPv6 networks are on interfaces of their own; and on which interface a VIP is answered."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from balanced import TALK, pool, service, talking
from site_lab import running
from test_failover import active, cut, end, gap, other, processes, tags, wait_for_active

pytestmark = pytest.mark.root
HERE = Path(__file__).parent
VIP, VIP6 = "10.80.1.50", "fd80:1::50"
CONFIG = """
configure serviceenginegroup Default-Group
ha_mode ha_mode_legacy_active_standby
save
configure applicationprofile keep
type application_profile_type_l4
preserve_client_ip
save
configure networkservice routing
se_group_ref Default-Group
service_type routing_service
routing_service enable_routing floating_intf_ip 10.80.1.1 floating_intf_ip 10.80.2.1
floating_intf_ip fd80:1::1
floating_intf_ip fd80:2::1
save
save
"""


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    folder = tmp_path_factory.mktemp("six")
    for name in ("six.yaml", "answer.py"):
        shutil.copy(HERE / name, folder)
    with running(folder / "six.yaml", folder, f"t{os.getpid()}x") as site:
        site.do(CONFIG)
        pool(site, "talk", {"10.80.2.101": "", "fd80:2::101": ""}, TALK)
        service(site, "talk", [VIP, VIP6], "pool_ref talk", TALK)
        pool(site, "web", {"10.80.2.101": "", "fd80:2::101": ""})
        service(site, "web", ["10.80.1.51", "fd80:1::51"], "pool_ref web")
        yield site


def test_only_the_active_engine_answers_over_ipv6(six):
    wait_for_active(six, "se1")
    assert six.call("c1", "tcp", "fd80:1::51", 80, 2)[0].split()[:2] == ["s1", "fd80:1::100"]
    assert six.inside("se2", "ip", "-6", "addr", "show", "to", VIP6).stdout
    assert learned(six, VIP6) == mac(six, "se1", "eth3")
    assert six.avishd("check").returncode == 0


def test_a_connection_over_ipv6_survives_a_cut_of_its_link(six):
    """The IPv6 network alone is lost: the engine hands over all."""
    was = active(six)
    with talking(six, "c1", VIP6) as talker:
        assert talker.ask() == ["s1"]
        assert gap(six, lambda: cut(six, was, "eth3", up=False), address=VIP6) <= 400
        assert tags(six, other(was)) == ["ACTIVE_STANDBY_SE_1"]
        assert talker.ask() == ["s1"]
    assert six.call("c1", "tcp", "10.80.1.51", 80)[0].split()[0] == "s1"
    cut(six, was, "eth3", up=True)
    wait_for_active(six, other(was))


def test_an_engine_that_froze_is_silent_over_ipv6_too(six):
    was = active(six)
    frozen = processes(six, was, "")
    assert gap(six, lambda: end(frozen, signal.SIGSTOP), address=VIP6) <= 400
    assert gap(six, lambda: end(frozen, signal.SIGCONT), address=VIP6) < 100
    wait_for_active(six, other(was))
    assert six.call("c1", "tcp", "fd80:1::51", 80)[0].split()[0] == "s1"


@pytest.mark.parametrize("everywhere", [True, False])
def test_a_vip_is_answered_on_every_interface_or_on_its_own(six, everywhere):
    """Asked for in the network behind; the VIP is in the one in front, where it is answered in any case."""
    word = "" if everywhere else "no "
    six.do(f"configure networkservice routing\nrouting_service\n{word}enable_vip_on_all_interfaces\nsave\nsave\n")
    assert answered(six, "s1", VIP) == everywhere
    assert answered(six, "c1", VIP)


def learned(site, ip):
    """The hardware address that answers for an IPv6 address; the last one to answer has the word."""
    site.inside("c1", "ip", "-6", "neigh", "flush", "dev", "eth1")
    site.inside("c1", "ping", "-c", "2", "-i", "0.2", ip)
    return json.loads(site.inside("c1", "ip", "-6", "-j", "neigh", "show", ip).stdout)[0]["lladdr"]


def mac(site, engine, interface):
    return json.loads(site.inside(engine, "ip", "-j", "link", "show", interface).stdout)[0]["address"]


def answered(site, host, ip):
    """Whether an address is on the wire of a host's first interface."""
    site.inside(host, "ip", "route", "replace", f"{ip}/32", "dev", "eth0")
    site.inside(host, "ip", "neigh", "flush", "dev", "eth0")
    try:
        return site.inside(host, "ping", "-c", "1", "-W", "2", ip).returncode == 0
    finally:
        site.inside(host, "ip", "route", "del", f"{ip}/32", "dev", "eth0")

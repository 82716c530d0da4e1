"""The texts of failover, read by the programs that they are for."""

import os
import subprocess
from dataclasses import replace

import pytest

from dataplane import failover_rules
from dataplane.failover_model import Link, Pair
from dataplane.model import Address

PAIR = Pair(
    (Link("eth1", "10.0.0.1", "10.0.0.2"), Link("eth2", "10.1.0.1", "10.1.0.2")), preferred=True, heartbeat=0.08
)
ADDRESSES = [
    Address("10.0.0.50", "eth1", "vip", 1),
    Address("fd00::50", "eth1", "vip", 1),
    Address("10.0.0.9", "", "nat"),
]


def test_only_addresses_of_a_pair_are_gated():
    text = failover_rules.gate({1: PAIR}, ADDRESSES, ["10.0.0.1", "fd00::1"])
    assert "add element netdev avish_pair held4_1 { 10.0.0.50 }" in text
    assert "add element netdev avish_pair held6_1 { fd00::50 }" in text
    assert "10.0.0.9" not in text


def test_an_address_more_or_less():
    put, drop = ADDRESSES[0], ADDRESSES[1]
    text = failover_rules.held([put, ADDRESSES[2]], [drop])
    assert text.splitlines()[0] == "add element netdev avish_pair held4_1 { 10.0.0.50 }"
    assert text.splitlines()[-1] == "delete element netdev avish_pair held6_1 { fd00::50 }"
    assert failover_rules.held([ADDRESSES[2]], []) == ""


def test_a_link_of_ipv6_is_heard_over_ipv6(tmp_path):
    six = Pair((Link("eth3", "fd00::1", "fd00::2"),), preferred=True, heartbeat=0.08, mirror=True)
    text = failover_rules.keepalived(1, six, tmp_path)
    assert "unicast_src_ip fd00::1" in text
    assert "fe80::fc:1/128 dev lo" in text
    mirror = failover_rules.conntrackd(six, tmp_path, ["fd00::1", "10.0.0.1", "fe80::1"])
    assert "IPv6_address fd00::1\nIPv6_Destination_Address fd00::2" in mirror
    both = Pair((*PAIR.links, *six.links), preferred=True, heartbeat=0.08, mirror=True)
    assert "IPv4_Destination_Address 10.1.0.2" in failover_rules.conntrackd(both, tmp_path, [])


def test_a_virtual_mac_is_written_into_what_leaves():
    text = failover_rules.gate({1: replace(PAIR, vmac="00:00:5e:00:01:07")}, ADDRESSES, ["10.0.0.1"])
    assert "arp saddr ip @held4_1 ether saddr set 00:00:5e:00:01:07 arp saddr ether set 00:00:5e:00:01:07" in text
    assert "ether daddr 00:00:5e:00:01:07 meta iiftype @live_1 meta pkttype set host" in text
    assert "pkttype set" not in failover_rules.gate({1: PAIR}, ADDRESSES, ["10.0.0.1"])


def test_pre_emption_only_when_asked(tmp_path):
    assert failover_rules.keepalived(1, PAIR, tmp_path).count("nopreempt") == 2
    asked = Pair(PAIR.links, preferred=True, heartbeat=0.08, preempt=True)
    assert "nopreempt" not in failover_rules.keepalived(1, asked, tmp_path)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
class TestAsRoot:
    @pytest.fixture
    def inside(self):
        name = f"t{os.getpid()}fr"
        subprocess.run(["ip", "netns", "add", name], check=True)
        pair = ["type", "veth", "peer", "name", "eth2"]
        subprocess.run(["ip", "-n", name, "link", "add", "eth1", *pair], check=True)

        def run(*words, text=""):
            argv = ["ip", "netns", "exec", name, *words]
            return subprocess.run(argv, input=text, capture_output=True, text=True, check=False)

        yield run
        subprocess.run(["ip", "netns", "del", name], check=True)

    def test_the_gate_loads_again_and_again_and_who_is_live_stays_so(self, inside):
        text = failover_rules.gate({1: PAIR, 2: PAIR}, ADDRESSES, ["10.0.0.1"])
        assert inside("nft", "-f", "-", text=text).stderr == ""
        inside("nft", "add element netdev avish_pair live_1 { ether timeout 60s }")
        assert inside("nft", "-f", "-", text=text).stderr == ""
        assert "ether" in inside("nft", "list", "set", "netdev", "avish_pair", "live_1").stdout
        assert inside("nft", "-f", "-", text=failover_rules.armed(2)).stderr == ""
        assert inside("nft", "-f", "-", text=failover_rules.held(ADDRESSES, ADDRESSES[:1])).stderr == ""
        assert inside("nft", "-f", "-", text=failover_rules.removal()).stderr == ""
        assert "avish_pair" not in inside("nft", "list", "tables").stdout

    def test_keepalived_takes_its_configuration(self, inside, tmp_path):
        (tmp_path / "k.conf").write_text(failover_rules.keepalived(1, PAIR, tmp_path / "fifo"))
        found = inside("keepalived", "-t", "-f", str(tmp_path / "k.conf"))
        assert found.returncode == 0, found.stderr

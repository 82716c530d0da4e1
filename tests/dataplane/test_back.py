"""Answers that go back to where the question came from: what the kernel is told, and that nothing of it is left."""

import os
import subprocess
import sys

import pytest

from dataplane import back
from dataplane.model import Interface

FRONT = Interface("eth1", 7, "02:00:00:00:00:01", 1500, True, ("10.0.0.1/24", "10.0.5.1/24", "fd00::1/64"))
BACK = Interface("eth2", 8, "02:00:00:00:00:02", 1500, True, ("10.1.0.1/24",))


def test_hosts_of_the_networks_themselves_are_left_out():
    text = back.rules([FRONT, BACK])
    assert "ip saddr != { 10.0.0.0/24, 10.0.5.0/24 } update @macs_7 { ip saddr : ether saddr }" in text
    assert 'iifname "eth2" ip saddr != { 10.1.0.0/24 } update @ways { ip saddr : 0x5e900008 }' in text


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_on_and_off_leaves_nothing():
    """In a namespace of its own: on, on again, lost in part, mended, off."""
    script = """
import subprocess
from dataplane import back
def run(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout
back.follow(on=False)
for number in (1, 2):
    run("ip", "link", "add", f"eth{number}", "type", "veth", "peer", "name", f"peer{number}")
    run("ip", "addr", "add", f"10.{number}.0.1/24", "dev", f"eth{number}")
    run("ip", "link", "set", f"eth{number}", "up")
before = run("ip", "rule"), run("ip", "route", "show", "table", "all"), run("ip", "neigh"), run("nft", "list", "ruleset")
assert back.faults(on=False) == []
back.follow(on=True)
back.follow(on=True)
assert back.faults(on=True) == [], back.faults(on=True)
assert run("ip", "rule").count("0x5e90000") == 2
run("ip", "rule", "del", "pref", "900")
run("nft", "delete", "table", "netdev", "avish_back")
assert len(back.faults(on=True)) == 2
back.follow(on=True)
assert back.faults(on=True) == []
run("ip", "link", "del", "eth2")
back.follow(on=True)
assert back.faults(on=True) == [], back.faults(on=True)
back.follow(on=False)
after = run("ip", "rule"), run("ip", "route", "show", "table", "all"), run("ip", "neigh"), run("nft", "list", "ruleset")
assert after[0] == before[0] and after[2:] == before[2:], after
assert "5e90" not in after[1] and "169.254.252.254" not in after[1], after[1]
"""
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr

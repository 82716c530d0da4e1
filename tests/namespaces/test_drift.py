"""What others change in the kernel of an engine: named, put right, and nothing else touched."""

from __future__ import annotations

import re
import time

import pytest
from test_services import service

pytestmark = pytest.mark.root
VIP = "10.77.1.80"
WITHIN = 2.0
"""Seconds in which it has to be right again."""


@pytest.fixture(scope="module")
def drifting(plain):
    service(plain, "drifting", VIP)
    plain.do(
        "configure vrfcontext global\nstatic_routes route_id 1 prefix 10.9.0.0/16 next_hop 10.77.1.100\nsave\nsave\n"
    )
    return plain


def engine(site, *words):
    done = site.inside("se1", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def counter(site):
    found = re.findall(r"counter service_\d+ \{\s+packets (\d+)", engine(site, "nft", "list", "table", "ip", "avish"))
    return [int(packets) for packets in found]


def events(site):
    return "".join(re.split(r"[|\s]+", site.shell("show events\n").stdout))


def named_in(words, site):
    """Tables wrap: blanks do not count."""
    return words.replace(" ", "") in events(site)


CHANGES = {
    "rules flushed": (["nft", "flush", "table", "ip", "avish"], "has other rules"),
    "table deleted": (["nft", "delete", "table", "ip", "avish"], "nftables table ip avish is missing"),
    "rule added": (["nft", "add", "rule", "ip", "avish", "forward", "drop"], "nftables chain forward has other rules"),
    "address deleted": (["ip", "addr", "del", f"{VIP}/32", "dev", "eth1"], f"address {VIP} on eth1 is missing"),
    "route deleted": (["ip", "route", "del", "10.9.0.0/16"], "route 10.9.0.0/16 via 10.77.1.100 is missing"),
    "all flushed": (["nft", "flush", "ruleset"], "nftables table inet avish_rates is missing"),
    "counting deleted": (["nft", "delete", "table", "arp", "avish_arp"], "nftables table arp avish_arp is missing"),
    "gate deleted": (["nft", "delete", "table", "netdev", "avish_pair"], "nftables table netdev avish_pair is missing"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_named_and_put_right(drifting, change):
    command, named = CHANGES[change]
    engine(drifting, *command)
    deadline = time.monotonic() + WITHIN
    while drifting.avishd("check").returncode:
        assert time.monotonic() < deadline + 1, drifting.avishd("check").stdout
    assert len(re.findall(r"avish_(?:rates|ftp|arp)", engine(drifting, "nft", "list", "tables"))) == 3
    assert drifting.call("c1", "tcp", VIP, 80)[0].split()[0] in ("s1", "s2")
    while not named_in(named, drifting):
        assert time.monotonic() < deadline + 3, events(drifting)
        time.sleep(0.1)


def test_what_was_right_is_not_touched(drifting):
    """The counter goes on, and a connection that is open too, while a rule that does not belong there is taken out."""
    drifting.call("c1", "tcp", VIP, 80, 3)
    before = counter(drifting)
    engine(drifting, "nft", "add", "chain", "ip", "avish", "foreign")
    deadline = time.monotonic() + WITHIN
    while "foreign" in engine(drifting, "nft", "list", "table", "ip", "avish"):
        assert time.monotonic() < deadline
    assert counter(drifting) == before
    assert max(before) >= 3
    while not named_in("chain foreign does not belong here", drifting):
        assert time.monotonic() < deadline + 3
        time.sleep(0.1)


def test_changes_of_our_own_are_no_drift(drifting):
    seen = events(drifting).count("SE_DRIFT_REPAIRED")
    service(drifting, "another", "10.77.1.81")
    drifting.do("delete virtualservice another\n")
    time.sleep(1.5)
    assert events(drifting).count("SE_DRIFT_REPAIRED") == seen

"""Servers that nobody tests, judged by the connections of clients."""

from __future__ import annotations

import json
import time

import pytest
from test_services import names, service

pytestmark = pytest.mark.root
PATIENCE = 15.0
HOSTS = {"s1": "10.77.2.101", "s2": "10.77.2.102"}


def status(site, host, pool="inline"):
    found = json.loads(site.shell(f"show pool {pool} server summary\n", "--json").stdout)
    return next(row["oper_status"] for row in found if row["ip_addr"]["addr"] == HOSTS[host])


def close(site, host, how):
    site.inside(host, "nft", "add table ip closed")
    site.inside(host, "nft", "add chain ip closed in { type filter hook input priority 0; }")
    assert site.inside(host, "nft", f"add rule ip closed in tcp dport 80 {how}").returncode == 0


def reopen(site, host):
    assert site.inside(host, "nft", "delete table ip closed").returncode == 0


def until(what):
    deadline = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def vip(plain):
    """Its servers have started."""
    for host, address in HOSTS.items():
        until(lambda host=host, address=address: host in names(plain.call("c1", "tcp", address, 80)))
    return service(plain, "inline", "10.77.1.90")


def test_a_server_that_refuses_gets_less_and_then_nothing_until_it_is_tried_again(plain, vip):
    close(plain, "s1", "reject with tcp reset")
    assert names(plain.call("c1", "tcp", vip, 80, 6)) == {"ConnectionRefusedError": 3, "s2": 3}
    reduced = until(
        lambda: [one for one in status(plain, "s1").get("reason", []) if one.startswith("inline monitor: ")]
    )
    assert "refused" in reduced[0]

    def refuses_no_more():
        return names(plain.call("c1", "tcp", vip, 80, 9)) == {"s2": 9}

    until(refuses_no_more)
    assert status(plain, "s1")["state"] == "OPER_DOWN"
    assert plain.avishd("check").returncode == 0
    reopen(plain, "s1")
    until(lambda: "s1" in names(plain.call("c1", "tcp", vip, 80, 9)))
    until(lambda: status(plain, "s1")["state"] == "OPER_UP")


def test_one_that_does_not_answer_gets_less(plain, vip):
    close(plain, "s2", "drop")
    until(lambda: "unanswered" in str(names(plain.call("c1", "tcp", vip, 80, 2)) and status(plain, "s2").get("reason")))
    reopen(plain, "s2")


def test_it_can_be_switched_off(plain):
    off = service(plain, "patient", "10.77.1.91", pool="no inline_health_monitor")
    close(plain, "s1", "reject with tcp reset")
    assert names(plain.call("c1", "tcp", off, 80, 8))["ConnectionRefusedError"] == 4
    time.sleep(0.5)
    assert names(plain.call("c1", "tcp", off, 80, 8))["ConnectionRefusedError"] == 4
    reopen(plain, "s1")

"""Several services on one VIP, protocols by port, pools that only route, times of idle connections: as packets show."""

from __future__ import annotations

import re

import pytest
from balanced import TALK, names, pool, service, talking

pytestmark = pytest.mark.root
S1, S2, S3 = "10.78.2.101", "10.78.2.102", "10.78.2.103"


def test_several_services_share_a_vip_by_port_and_protocol(mixed):
    for name, server in (("one", S1), ("two", S2), ("three", S3)):
        pool(mixed, name, {server: ""}, fields="use_service_port")
    service(mixed, "one", ["10.78.1.90"], "pool_ref one")
    for name, port, network in (("two", "81", "TCP"), ("three", "80", "UDP")):
        mixed.do(
            f"configure virtualservice {name}\nservices port {port}\nsave\nvsvip_ref one\npool_ref {name}\n"
            f"network_profile_ref System-{network}-Fast-Path\napplication_profile_ref keep\nsave\n"
        )
    assert names(mixed.call("c1", "tcp", "10.78.1.90", 80, 2)) == {"s1": 2}
    assert names(mixed.call("c1", "tcp", "10.78.1.90", 81, 2)) == {"s2": 2}
    assert names(mixed.call("c1", "udp", "10.78.1.90", 80, 2)) == {"s3": 2}
    refused = mixed.shell(
        "configure virtualservice four\nservices port 1 port_range_end 80\nsave\nvsvip_ref one\npool_ref one\n"
        "network_profile_ref System-TCP-Fast-Path\napplication_profile_ref keep\nsave\n"
    )
    assert refused.returncode == 1
    assert "one" in refused.stderr
    mixed.do("delete virtualservice one\n")
    assert names(mixed.call("c1", "tcp", "10.78.1.90", 81)) == {"s2": 1}, "the VIP stays while one of them has it"


def test_a_port_has_another_protocol_than_the_service(mixed):
    pool(mixed, "both", {S1: ""})
    more = "services port 80 override_network_profile_ref System-UDP-Fast-Path\nsave\npool_ref both"
    service(mixed, "both", ["10.78.1.91"], more)
    assert names(mixed.call("c1", "tcp", "10.78.1.91", 80)) == {"s1": 1}
    assert names(mixed.call("c1", "udp", "10.78.1.91", 80)) == {"s1": 1}


def test_a_pool_that_only_routes_counts_and_lets_pass(mixed):
    mixed.do("configure pool through\nrouting_pool\nsave\n")
    mixed.do(
        "configure vsvip through\nvip vip_id 1 ip_address 10.78.2.0 prefix_length 24\nsave\nsave\n"
        "configure virtualservice through\nservices port 80\nsave\nvsvip_ref through\npool_ref through\n"
        "network_profile_ref System-TCP-Fast-Path\napplication_profile_ref keep\nsave\n"
    )
    answers = [mixed.call("c1", "tcp", server, 80)[0] for server in (S1, S2)]
    assert [answer.split()[:2] for answer in answers] == [["s1", "10.78.1.100"], ["s2", "10.78.1.100"]]
    detail = mixed.do("show virtualservice through detail")
    assert re.search(r"new_established_conns\s*\|\s*2\b", detail), detail
    assert "OPER_DOWN" not in detail, "there is no server to be down"


TIMES = """
configure networkprofile short
profile type protocol_type_tcp_fast_path tcp_fast_path_profile session_idle_timeout 5
save
save
save
configure networkprofile brief
profile type protocol_type_udp_fast_path udp_fast_path_profile session_idle_timeout 2
save
save
save
"""


def left(site, *words):
    """The seconds that the kernel still remembers the connections to an address, by state."""
    listing = site.inside("se1", "conntrack", "-L", *words).stdout
    return [int(found) for found in re.findall(r"^\w+ +\d+ (\d+) ", listing, re.MULTILINE)]


def test_idle_connections_are_forgotten_when_the_profile_says(mixed):
    mixed.do(TIMES)
    pool(mixed, "idle", {S1: ""}, TALK)
    service(mixed, "idle", ["10.78.1.92"], "pool_ref idle\nnetwork_profile_ref short", TALK)
    with talking(mixed, "c1", "10.78.1.92") as talker:
        assert talker.ask() == ["s1"]
        (seconds,) = left(mixed, "-d", "10.78.1.92", "-p", "tcp")
        assert 0 < seconds <= 5
    pool(mixed, "usual", {S1: ""}, TALK)
    service(mixed, "usual", ["10.78.1.93", "fd78:1::93"], "pool_ref usual", TALK)
    with talking(mixed, "c1", "10.78.1.93") as talker:
        assert talker.ask() == ["s1"]
        (seconds,) = left(mixed, "-d", "10.78.1.93", "-p", "tcp")
        assert 200 < seconds <= 300, "of System-TCP-Fast-Path"


def test_udp_too_and_a_profile_that_changes(mixed):
    pool(mixed, "ask", {S1: ""})
    service(mixed, "ask", ["10.78.1.94"], "pool_ref ask\nnetwork_profile_ref brief")
    assert names(mixed.call("c1", "udp", "10.78.1.94", 80)) == {"s1": 1}
    assert max(left(mixed, "-d", "10.78.1.94", "-p", "udp")) <= 2
    mixed.do(
        "configure networkprofile brief\nprofile udp_fast_path_profile session_idle_timeout 900\nsave\nsave\nsave\n"
    )
    assert names(mixed.call("c1", "udp", "10.78.1.94", 80)) == {"s1": 1}
    assert max(left(mixed, "-d", "10.78.1.94", "-p", "udp")) > 800


def test_the_kernel_is_as_configured_after_all_that(mixed):
    done = mixed.avishd("check")
    assert done.returncode == 0, done.stdout + done.stderr

"""Two VRFs on the same engines, with the same addresses in both: nothing of one shows in the other."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from site_lab import running
from test_failover import GAPS, LONGEST_GAP, cut, end, processes, wait_for_gateway

pytestmark = pytest.mark.root
HERE = Path(__file__).parent
VIP = "10.79.1.50"
PATIENCE = 20.0
GROUP = """
configure serviceenginegroup Default-Group
ha_mode ha_mode_legacy_active_standby
save
configure applicationprofile keep
type application_profile_type_l4
preserve_client_ip
save
"""
VRF = """
configure vrfcontext {vrf}
static_routes prefix 10.79.3.0/24 next_hop 10.79.1.254
save
save
configure networkservice {vrf}-routing
se_group_ref Default-Group
vrf_ref {vrf}
service_type routing_service
routing_service enable_routing floating_intf_ip 10.79.1.1 floating_intf_ip 10.79.2.1
save
save
configure pool {vrf}-web
vrf_ref {vrf}
servers ip 10.79.2.101 port 80
save
health_monitor_refs System-TCP
save
configure vsvip {vrf}-web
vrf_context_ref {vrf}
vip vip_id 1 ip_address 10.79.1.50
save
save
configure virtualservice {vrf}-web
services port 80
save
vrf_context_ref {vrf}
application_profile_ref keep
network_profile_ref System-TCP-Fast-Path
vsvip_ref {vrf}-web
pool_ref {vrf}-web
save
"""
NAT = """
configure natpolicy blue-nat
rules index 1 name out enable
match source_ip match_criteria is_in prefixes 10.79.2.0/24
save
save
action type nat_policy_action_type_dynamic_ip_port
nat_info nat_ip 10.79.1.60
save
save
save
save
configure networkservice blue-routing
routing_service nat_policy_ref blue-nat
save
save
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vrfs")
    for name in ("vrfs.yaml", "answer.py"):
        shutil.copy(HERE / name, folder)
    with running(folder / "vrfs.yaml", folder, f"t{os.getpid()}v") as found:
        found.do(GROUP + VRF.format(vrf="global") + VRF.format(vrf="blue") + NAT)
        yield found


def shown(site, line):
    return json.loads(site.shell(f"{line}\n", "--json").stdout)


def roles(site, engine):
    rows = shown(site, f"show serviceengine {engine} summary")["pair"]
    return {row["vrf_name"]: row["role"] for row in rows}


def wait_for(site, engine, role, blue=""):
    """Until the engine has its role, the same in all its VRFs unless said otherwise."""
    deadline = time.monotonic() + PATIENCE
    while roles(site, engine) != {"global": role, "blue": blue or role}:
        assert time.monotonic() < deadline, roles(site, engine)
        time.sleep(0.1)


def test_the_same_vip_leads_to_the_servers_of_its_vrf(site):
    assert site.call("c1", "tcp", VIP, 80)[0].split()[:2] == ["s1", "10.79.1.100"]
    assert site.call("b-c1", "tcp", VIP, 80)[0].split()[:2] == ["b-s1", "10.79.1.100"]
    states = shown(site, "show virtualservice")["results"]
    assert {one["name"]: one["runtime"]["oper_status"]["state"] for one in states} == {
        "global-web": "OPER_UP",
        "blue-web": "OPER_UP",
    }
    assert site.avishd("check").returncode == 0


def test_nat_and_routes_of_a_vrf_are_its_own(site):
    """The client behind the router is reached by the static route; only in blue another address comes with it."""
    assert site.call("s1", "tcp", "10.79.3.100", 80)[0].split()[:2] == ["f1", "10.79.2.101"]
    assert site.call("b-s1", "tcp", "10.79.3.100", 80)[0].split()[:2] == ["b-f1", "10.79.1.60"]
    flows = shown(site, "show serviceengine se1 nat-flows")["natflow"]
    assert {(flow["vrf_name"], flow["mapped_flow"]["l_ip"]) for flow in flows} == {("blue", "10.79.1.60")}
    (policy,) = shown(site, "show serviceengine se1 natpolicystat")["nat_policy"]
    assert policy["rule_stats"][0]["hits"] == 1


BACK = """
configure networkservice global-routing
routing_service {word}enable_auto_gateway
save
save
"""


def test_answers_go_back_to_where_the_question_came_from(site):
    """Nobody tells the engine a way to the client behind the router; only in VRF global it finds one by itself."""
    site.do("configure vrfcontext global\nno static_routes index 1\nsave\n")
    try:
        assert site.call("f1", "tcp", VIP, 80)[0] == "TimeoutError"
        site.do(BACK.format(word=""))
        assert site.call("f1", "tcp", VIP, 80)[0].split()[:2] == ["s1", "10.79.3.100"]
        assert site.call("f1", "tcp", "10.79.2.101", 80)[0].split()[:2] == ["s1", "10.79.3.100"], "routed as well"
        assert site.inside("f1", "ping", "-c", "1", "-W", "2", VIP).returncode == 0
        assert site.call("c1", "tcp", VIP, 80)[0].split()[0] == "s1", "who needs no router"
        assert site.avishd("check").returncode == 0
        site.inside("se1", "nft", "delete", "table", "ip", "avish_back")
        deadline = time.monotonic() + PATIENCE
        while site.call("f1", "tcp", VIP, 80)[0].split()[0] != "s1":
            assert time.monotonic() < deadline, "what others take away is put back"
        (service, _) = shown(site, "show serviceengine se1 network-service")["network_service"]
        assert service["routing_service"]["enable_auto_gateway"] is True
        site.do(BACK.format(word="no "))
        assert "5e90" not in site.inside("se1", "ip", "rule").stdout
        assert "avish_back" not in site.inside("se1", "nft", "list", "tables").stdout
        assert site.avishd("check").returncode == 0
    finally:
        site.do("configure vrfcontext global\nstatic_routes prefix 10.79.3.0/24 next_hop 10.79.1.254\nsave\nsave\n")


def test_reached_for_from_an_engine_in_its_vrf(site):
    script = "test serviceengine se1 tcp 10.79.3.100 80{}\n"
    assert "connected" in site.do(script.format(" vrfcontext blue"))
    site.inside("b-f1", "ip", "link", "set", "eth0", "down")
    assert "connected" not in site.shell(script.format(" vrfcontext blue")).stdout
    assert "connected" in site.do(script.format(""))
    site.inside("b-f1", "ip", "link", "set", "eth0", "up")
    site.inside("b-f1", "ip", "route", "add", "default", "via", "10.79.3.1")
    refused = site.shell(script.format(" vrfcontext management"))
    assert refused.returncode != 0
    assert "se1 has no interface in VRF management" in refused.stderr


def test_what_is_shown_of_an_engine_has_all_its_vrfs(site):
    rows = shown(site, "show serviceengine se1 vrf-ip-info")["vrf_ip_info"]
    assert {row["vrf_name"] for row in rows if row["ip_address"] == VIP} == {"global", "blue"}
    rows = shown(site, "show serviceengine se1 route")["route_entry"]
    assert len({row["vrf_id"] for row in rows if row["destination"] == "10.79.3.0"}) == 2
    services = shown(site, "show serviceengine se1 network-service")["network_service"]
    assert {one["vrf_name"] for one in services} == {"global", "blue"}
    assert {row["vsuuid"] for row in shown(site, "show serviceengine se1 vshash")["vshashone"]} == {
        one["uuid"] for one in shown(site, "show virtualservice")["results"]
    }


def test_what_others_change_in_a_vrf_is_put_right(site):
    site.inside("se1-blue", "nft", "flush", "table", "ip", "avish")
    deadline = time.monotonic() + PATIENCE
    while site.call("b-c1", "tcp", VIP, 80)[0].split()[0] != "b-s1":
        assert time.monotonic() < deadline
    assert site.avishd("check").returncode == 0


def test_an_engine_hands_over_all_its_vrfs(site):
    wait_for(site, "se1", "ACTIVE")
    wait_for(site, "se2", "STANDBY")
    site.do("switchover serviceengine se1\n")
    wait_for(site, "se2", "ACTIVE")
    wait_for(site, "se1", "STANDBY")
    for client, server in (("c1", "s1"), ("b-c1", "b-s1")):
        assert site.call(client, "tcp", VIP, 80)[0].split()[0] == server
    assert site.call("b-s1", "tcp", "10.79.3.100", 80)[0].split()[:2] == ["b-f1", "10.79.1.60"]


def test_a_link_cut_in_one_vrf_moves_the_engine_in_all(site):
    """The engine fails over as a whole; nothing goes back by itself when the link is there again."""
    wait_for(site, "se2", "ACTIVE")
    cut(site, "se2-blue", "eth1", up=False)
    wait_for(site, "se1", "ACTIVE")
    for client, server in (("c1", "s1"), ("b-c1", "b-s1")):
        assert site.call(client, "tcp", VIP, 80)[0].split()[0] == server
    wait_for(site, "se2", "STANDBY", blue="FAULT")
    cut(site, "se2-blue", "eth1", up=True)
    wait_for(site, "se2", "STANDBY")
    assert set(roles(site, "se1").values()) == {"ACTIVE"}


GATEWAY = """
configure vrfcontext blue
gateway_mon gateway_ip 10.79.1.100 gateway_monitor_interval 100 gateway_monitor_fail_threshold 3
save
save
"""
LOSE = ["add table ip lost", "add chain ip lost out { type filter hook output priority 0; }"]
RULE = "add rule ip lost out ip daddr 10.79.1.100 icmp type echo-request drop"


def test_a_gateway_lost_in_one_vrf_moves_the_engine_in_all(site):
    wait_for(site, "se1", "ACTIVE")
    site.do(GATEWAY)
    for words in (*LOSE, RULE):
        assert site.inside("se1-blue", "nft", words).returncode == 0
    wait_for(site, "se2", "ACTIVE")
    wait_for(site, "se1", "STANDBY")
    site.inside("se1-blue", "nft", "delete table ip lost")
    wait_for_gateway(site, "se1", up=True)
    site.do("switchover serviceengine se2\n")
    wait_for(site, "se1", "ACTIVE")
    wait_for(site, "se2", "STANDBY")


def test_the_other_vrfs_follow_the_main_one(site):
    """keepalived dies in one VRF only; in the end the engine that the main VRF has chosen is active in all."""
    wait_for(site, "se1", "ACTIVE")
    end(processes(site, "se1", "keepalived"), signal.SIGKILL)
    wait_for(site, "se2", "ACTIVE")
    wait_for(site, "se1", "STANDBY")
    end(processes(site, "se2-blue", "keepalived"), signal.SIGKILL)
    wait_for(site, "se1", "STANDBY", blue="ACTIVE")
    wait_for(site, "se2", "ACTIVE")
    wait_for(site, "se1", "STANDBY")


def test_an_engine_that_freezes_is_replaced_in_all_vrfs(site):
    wait_for(site, "se2", "ACTIVE")
    frozen = [pid for place in ("se2", "se2-blue") for pid in processes(site, place, "")]
    argv = [sys.executable, GAPS, VIP, "3.0"]
    asking = [
        subprocess.Popen(["ip", "netns", "exec", f"{site.prefix}-{host}", *argv], stdout=subprocess.PIPE, text=True)
        for host in ("c1", "b-c1")
    ]
    time.sleep(0.5)
    end(frozen, signal.SIGSTOP)
    try:
        longest = [int(one.communicate()[0].split()[0]) for one in asking]
    finally:
        end(frozen, signal.SIGCONT)
    assert max(longest) <= LONGEST_GAP
    wait_for(site, "se1", "ACTIVE")
    wait_for(site, "se2", "STANDBY")
    for client, server in (("c1", "s1"), ("b-c1", "b-s1")):
        assert site.call(client, "tcp", VIP, 80)[0].split()[0] == server
    assert site.avishd("check").returncode == 0

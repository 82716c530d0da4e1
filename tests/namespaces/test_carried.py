"""What profiles, pools and policies say, as clients and servers see it; both IP versions."""

from __future__ import annotations

import json
import re
import time
from collections import Counter

import pytest
from balanced import TALK, names, pool, service, talking

pytestmark = pytest.mark.root
S1, S2, S3 = "10.78.2.101", "10.78.2.102", "10.78.2.103"
SIX = ("fd78:2::101", "fd78:2::102")


def address(plain, last):
    """Another address of the client."""
    plain.inside("c1", "ip", "addr", "add", f"10.78.1.{last}/24", "dev", "eth0")
    return f"10.78.1.{last}"


def test_both_ip_versions_and_several_vips(mixed):
    pool(mixed, "dual", dict.fromkeys((S1, S2, *SIX), ""))
    service(mixed, "dual", ["10.78.1.50", "10.78.1.51", "fd78:1::50"], "pool_ref dual")
    for vip in ("10.78.1.50", "10.78.1.51", "fd78:1::50"):
        assert names(mixed.call("c1", "tcp", vip, 80, 4)) == {"s1": 2, "s2": 2}
    assert mixed.call("c1", "tcp", "fd78:1::50", 80)[0].split()[1] == "fd78:1::100"


def test_udp_over_ipv6_with_the_engine_as_source(mixed):
    pool(mixed, "udp6", dict.fromkeys(SIX, ""))
    fields = "pool_ref udp6\nnetwork_profile_ref System-UDP-Fast-Path\napplication_profile_ref System-L4-Application"
    service(mixed, "udp6", ["fd78:1::52"], fields)
    answers = mixed.call("c1", "udp", "fd78:1::52", 80, 4)
    assert names(answers) == {"s1": 2, "s2": 2}
    assert {answer.split()[1] for answer in answers} == {"fd78:2::11"}


def test_persistence_by_network_and_after_a_server_left(mixed):
    mixed.do(
        "configure applicationpersistenceprofile net\npersistence_type persistence_type_client_ip_address\n"
        "ip_persistence_profile ip_mask 31 ip_persistent_timeout 1\nsave\nsave\n"
    )
    pool(mixed, "bound", dict.fromkeys((S1, S2, S3), ""), fields="application_persistence_profile_ref net")
    service(mixed, "bound", ["10.78.1.53"], "pool_ref bound")
    first = {}
    for last in range(120, 132, 2):
        pair = [address(mixed, last), address(mixed, last + 1)]
        answers = [answer for ip in pair for answer in mixed.call("c1", "tcp", "10.78.1.53", 80, 2, ip)]
        ((first[pair[0]], count),) = names(answers).items()
        assert count == 4
    assert set(first.values()) == {"s1", "s2", "s3"}
    mixed.do(f"configure pool bound\nservers ip {S1} port 80\nno enabled\nsave\nsave\n")
    for ip, server in first.items():
        (now,) = names(mixed.call("c1", "tcp", "10.78.1.53", 80, 2, ip))
        assert now == server if server != "s1" else now in ("s2", "s3")
    assert len(bound(mixed)) == 6
    mixed.do("clear pool bound persistence\n")
    assert bound(mixed) == []
    mixed.call("c1", "tcp", "10.78.1.53", 80, 1)
    assert len(bound(mixed)) == 1


def bound(site):
    """The clients that are bound to servers."""
    return json.loads(site.shell("show pool bound persistence\n", "--json").stdout).get("persistence_entry", [])


def test_cleared_connections_are_balanced_anew_and_those_of_others_go_on(mixed):
    for name, ip in (("cleared", "10.78.1.97"), ("spared", "10.78.1.98")):
        pool(mixed, name, {S1: ""}, TALK)
        service(mixed, name, [ip], f"pool_ref {name}", TALK)
    with talking(mixed, "c1", "10.78.1.97", 2) as cleared, talking(mixed, "c1", "10.78.1.98", 2) as spared:
        assert cleared.ask() + spared.ask() == ["s1"] * 4
        pool(mixed, "cleared", {S2: ""}, TALK)
        mixed.do(f"configure pool cleared\nservers ip {S1} port {TALK}\nno enabled\nsave\nsave\n")
        assert cleared.ask() == ["s1"] * 2
        done = mixed.shell("clear virtualservice cleared connections\n", "--json")
        assert json.loads(done.stdout)["num_forgotten"] == 2
        assert cleared.ask() == ["ConnectionResetError"] * 2
        assert spared.ask() == ["s1"] * 2


def test_a_server_leaves_gracefully_or_at_once(mixed):
    pool(mixed, "leave", dict.fromkeys((S1, S2), ""), TALK)
    service(mixed, "leave", ["10.78.1.54"], "pool_ref leave", TALK)
    with talking(mixed, "c1", "10.78.1.54", 4) as talker:
        assert sorted(talker.ask()) == ["s1", "s1", "s2", "s2"]
        mixed.do(f"configure pool leave\nservers ip {S1} port {TALK}\nno enabled\nsave\nsave\n")
        assert sorted(talker.ask()) == ["s1", "s1", "s2", "s2"]
        with talking(mixed, "c1", "10.78.1.54", 2) as later:
            assert later.ask() == ["s2", "s2"]
        mixed.do("configure pool leave graceful_disable_timeout 0\nsave\n")
        assert sorted(talker.ask()) == ["ConnectionResetError", "ConnectionResetError", "s2", "s2"]


def test_a_removed_server_resets_its_connections(mixed):
    pool(mixed, "taken", {S1: ""}, TALK)
    service(mixed, "taken", ["10.78.1.55"], "pool_ref taken", TALK)
    with talking(mixed, "c1", "10.78.1.55") as talker:
        assert talker.ask() == ["s1"]
        mixed.do(f"configure pool taken\nno servers ip {S1} port {TALK}\nservers ip {S2} port {TALK}\nsave\nsave\n")
        assert talker.ask() == ["ConnectionResetError"]


def test_traffic_off_refuses_and_comes_back(mixed):
    pool(mixed, "still", {S1: ""})
    service(mixed, "still", ["10.78.1.56"], "pool_ref still")
    mixed.do("configure virtualservice still no traffic_enabled\nsave\n")
    assert mixed.call("c1", "tcp", "10.78.1.56", 80) == ["ConnectionRefusedError"]
    mixed.do("configure virtualservice still traffic_enabled\nsave\n")
    assert names(mixed.call("c1", "tcp", "10.78.1.56", 80)) == {"s1": 1}


def test_without_servers_udp_is_unreachable(mixed):
    pool(mixed, "none", {})
    service(mixed, "none", ["10.78.1.57"], "pool_ref none\nnetwork_profile_ref System-UDP-Fast-Path")
    assert mixed.call("c1", "udp", "10.78.1.57", 80) == ["ConnectionRefusedError"]


def test_ports_close_while_a_service_is_down(mixed):
    pool(mixed, "down", {S1: ""})
    service(mixed, "down", ["10.78.1.58"], "pool_ref down\nremove_listening_port_on_vs_down")
    assert "10.78.1.58" in mixed.do("show serviceengine se1 vshash")
    mixed.do("configure pool down no enabled\nsave\n")
    assert "10.78.1.58" not in mixed.do("show serviceengine se1 vshash")
    assert mixed.call("c1", "tcp", "10.78.1.58", 80) == ["ConnectionRefusedError"]


def test_hash_over_address_and_port(mixed):
    hashed = (
        "lb_algorithm lb_algorithm_consistent_hash\n"
        "lb_algorithm_hash lb_algorithm_consistent_hash_source_ip_address_and_port"
    )
    pool(mixed, "spread", dict.fromkeys((S1, S2, S3), ""), fields=hashed)
    service(mixed, "spread", ["10.78.1.59"], "pool_ref spread")
    fixed = [mixed.call("c1", "tcp", "10.78.1.59", 80, 1, "10.78.1.100", str(port))[0] for port in (5001, 5001, 5001)]
    assert len(names(fixed)) == 1
    assert set(names(mixed.call("c1", "tcp", "10.78.1.59", 80, 30))) == {"s1", "s2", "s3"}


def test_random(mixed):
    pool(mixed, "dice", dict.fromkeys((S1, S2), ""), fields="lb_algorithm lb_algorithm_random")
    service(mixed, "dice", ["10.78.1.60"], "pool_ref dice")
    found = names(mixed.call("c1", "tcp", "10.78.1.60", 80, 40))
    assert min(found["s1"], found["s2"]) > 5


def test_a_wildcard_vip_takes_what_comes_by(mixed):
    pool(mixed, "any", {S3: ""}, fields="use_service_port")
    mixed.do(
        "configure vsvip any\nvip vip_id 1 ip_address 10.79.0.0 prefix_length 16\nsave\nsave\n"
        "configure virtualservice any\nservices port 1 port_range_end 65535\nsave\nvsvip_ref any\npool_ref any\n"
        "network_profile_ref System-TCP-Fast-Path\napplication_profile_ref keep\nsave\n"
    )
    assert names(mixed.call("c1", "tcp", "10.79.3.4", 80) + mixed.call("c1", "tcp", "10.79.9.9", 8005)) == {"s3": 2}


def test_source_addresses_of_a_service(mixed):
    pool(mixed, "from", {S1: ""})
    fields = "pool_ref from\napplication_profile_ref System-L4-Application\nsnat_ip 10.78.2.77"
    service(mixed, "from", ["10.78.1.61"], fields)
    assert mixed.call("c1", "tcp", "10.78.1.61", 80)[0].split()[1] == "10.78.2.77"
    mixed.do("configure virtualservice from\nsnat_ip 10.78.2.78\nsnat_ip 10.78.2.79\nsave\n")
    found = Counter(answer.split()[1] for answer in mixed.call("c1", "tcp", "10.78.1.61", 80, 60))
    assert set(found) == {"10.78.2.77", "10.78.2.78", "10.78.2.79"}
    assert min(found.values()) > 5
    again = [mixed.call("c1", "tcp", "10.78.1.61", 80, 1, "", "4711")[0].split()[1] for _ in range(3)]
    assert len(set(again)) == 1, "client and port decide"
    assert mixed.avishd("check").returncode == 0


GROUP = """
configure poolgroup tiers
members pool_ref high{n} priority_label 10 ratio 3
save
members pool_ref other priority_label 10
save
members pool_ref low priority_label 5
save
save
"""


def test_pool_groups_share_by_ratio_and_stand_in_by_priority(mixed):
    for name, server in (("high", S1), ("other", S2), ("low", S3)):
        pool(mixed, name, {server: ""})
    mixed.do(GROUP.format(n=""))
    service(mixed, "tiers", ["10.78.1.62"], "pool_group_ref tiers")
    assert names(mixed.call("c1", "tcp", "10.78.1.62", 80, 8)) == {"s1": 6, "s2": 2}
    mixed.do("configure pool high no enabled\nsave\nconfigure pool other no enabled\nsave\n")
    assert names(mixed.call("c1", "tcp", "10.78.1.62", 80, 4)) == {"s3": 4}


POLICY = """
configure ipaddrgroup known
ranges 10.78.1.140-10.78.1.149
save
configure networksecuritypolicy guard
rules index 1 name known enable action network_security_policy_action_type_allow
match
client_ip match_criteria is_in group_refs known
save
save
save
rules index 2 name port enable action network_security_policy_action_type_deny
match
client_port match_criteria is_in ranges start 7000 end 7010
save
save
save
save
rules index 3 name slow enable action network_security_policy_action_type_rate_limit
match
client_ip match_criteria is_in addrs 10.78.1.150
save
save
rl_param max_rate 2 burst_size 2
save
save
save
"""


def counters(site):
    """The security counters of the engine's table: connections by rule."""
    listing = site.inside("se1", "nft", "-j", "list", "counters", "table", "ip", "avish").stdout
    found = [item["counter"] for item in json.loads(listing)["nftables"] if "counter" in item]
    return {one["name"].rpartition("_rule_")[2]: one["packets"] for one in found if "_rule_" in one["name"]}


def test_a_security_policy_allows_denies_and_slows_down(mixed):
    pool(mixed, "guarded", {S1: ""})
    mixed.do(POLICY)
    service(mixed, "guarded", ["10.78.1.63"], "pool_ref guarded\nnetwork_security_policy_ref guard")
    known, slow = address(mixed, 140), address(mixed, 150)
    assert names(mixed.call("c1", "tcp", "10.78.1.63", 80, 1, known, "7005")) == {"s1": 1}
    assert names(mixed.call("c1", "tcp", "10.78.1.63", 80, 1, "10.78.1.100", "7005")) == {"TimeoutError": 1}
    assert names(mixed.call("c1", "tcp", "10.78.1.63", 80, 1, "10.78.1.100", "7011")) == {"s1": 1}
    assert counters(mixed)["1"] == 1
    assert counters(mixed)["2"] >= 1
    found = names(mixed.call("c1", "tcp", "10.78.1.63", 80, 6, slow))
    assert found["s1"] >= 2
    assert counters(mixed)["3"] > 6  # what was dropped was tried again
    rules = mixed.do("show virtualservice guarded networksecuritypolicystats")
    _, _, limited = re.findall(r"action_hits\s*\|\s*(\d+)", rules)
    assert 0 < int(limited) < counters(mixed)["3"]
    assert figure(mixed, "show virtualservice guarded dosstat", "policy_drops") >= int(limited) + 1


L4 = """
configure l4policyset choose
l4_connection_policy
rules index 1 name client
match
client_ip match_criteria is_in addrs 10.78.1.151
save
save
action
select_pool action_type l4_rule_action_select_pool pool_ref second
save
save
save
rules index 2 name port
match
port match_criteria is_in ports 8005
save
save
action
select_pool action_type l4_rule_action_select_pool pool_ref third
save
save
save
save
save
"""


def test_layer_4_policies_choose_the_pool(mixed):
    pool(mixed, "first", {S1: ""})
    pool(mixed, "second", {S2: ""})
    pool(mixed, "third", {S3: ""})
    mixed.do(L4)
    service(
        mixed,
        "choose",
        ["10.78.1.64"],
        "services port 8005\nsave\npool_ref first\nl4_policies index 1 l4_policy_set_ref choose\nsave",
    )
    assert names(mixed.call("c1", "tcp", "10.78.1.64", 80)) == {"s1": 1}
    assert names(mixed.call("c1", "tcp", "10.78.1.64", 8005)) == {"s3": 1}
    assert names(mixed.call("c1", "tcp", "10.78.1.64", 80, 1, address(mixed, 151))) == {"s2": 1}
    mixed.do(f"configure pool second\nservers ip {S3} port 80\nsave\nno servers ip {S2} port 80\nsave\n")
    assert names(mixed.call("c1", "tcp", "10.78.1.64", 80, 1, "10.78.1.151")) == {"s3": 1}


def test_limits_on_connections(mixed):
    pool(mixed, "few", {S1: ""}, TALK, "max_concurrent_connections_per_server 3")
    service(mixed, "few", ["10.78.1.65"], "pool_ref few", TALK)
    with talking(mixed, "c1", "10.78.1.65", 3) as talker:
        assert talker.ask() == ["s1"] * 3
        assert mixed.call("c1", "tcp", "10.78.1.65", TALK) == ["ConnectionRefusedError"]
    pool(mixed, "all", {S1: ""}, TALK)
    service(mixed, "all", ["10.78.1.66"], "pool_ref all\nperformance_limits max_concurrent_connections 2\nsave", TALK)
    with talking(mixed, "c1", "10.78.1.66", 2) as talker:
        assert talker.ask() == ["s1"] * 2
        assert mixed.call("c1", "tcp", "10.78.1.66", TALK) == ["ConnectionRefusedError"]
    assert figure(mixed, "show virtualservice all detail", "connection_dropped_user_limit") == 1


def test_another_server_is_tried_when_one_is_full(mixed):
    pool(mixed, "room", {S1: "ratio 3", S2: ""}, TALK, "max_concurrent_connections_per_server 3")
    service(mixed, "room", ["10.78.1.70"], "pool_ref room", TALK)
    with talking(mixed, "c1", "10.78.1.70", 5) as talker, talking(mixed, "c1", "10.78.1.70") as last:
        assert sorted(talker.ask() + last.ask()) == ["s1"] * 3 + ["s2"] * 3
        eventually(lambda: mixed.call("c1", "tcp", "10.78.1.70", TALK) == ["ConnectionRefusedError"])
        assert mixed.avishd("check").returncode == 0
    eventually(lambda: S1 in slots_of_last(mixed))


def figure(site, command, name):
    """A number that a command shows."""
    found = re.search(rf"{name}\s*\|\s*(\d+)", site.do(command))
    return int(found[1]) if found else None


def test_limits_on_rates(mixed):
    pool(mixed, "fast", {S1: ""})
    limit = "connections_rate_limit\nrate_limiter count 4 period 60\nsave\naction type rl_action_reset_conn\nsave\nsave"
    service(mixed, "fast", ["10.78.1.67"], f"pool_ref fast\n{limit}")
    assert names(mixed.call("c1", "tcp", "10.78.1.67", 80, 6)) == {"s1": 4, "ConnectionRefusedError": 2}
    assert figure(mixed, "show virtualservice fast dosstat", "conn_rl_action_resets") == 2
    service(mixed, "each", ["10.78.1.68"], "pool_ref fast\nmax_cps_per_client 10")
    found = names(mixed.call("c1", "tcp", "10.78.1.68", 80, 12))
    assert found["s1"] >= 10
    assert figure(mixed, "show virtualservice fast detail", "dos_conn_rl_drop") == 2


def test_least_connections_by_the_flows_of_the_last_second(mixed):
    pool(mixed, "least", {S1: "", S2: "enabled"}, TALK, "lb_algorithm lb_algorithm_least_connections")
    mixed.do(f"configure pool least\nservers ip {S2} port {TALK}\nno enabled\nsave\nsave\n")
    service(mixed, "least", ["10.78.1.69"], "pool_ref least", TALK)
    with talking(mixed, "c1", "10.78.1.69", 6) as first:
        assert first.ask() == ["s1"] * 6
        mixed.do(f"configure pool least\nservers ip {S2} port {TALK}\nenabled\nsave\nsave\n")
        eventually(lambda: S1 not in slots_of_last(mixed))
        with talking(mixed, "c1", "10.78.1.69", 5) as later:
            assert later.ask() == ["s2"] * 5
        assert mixed.avishd("check").returncode == 0


def slots_of_last(site):
    """The slots of the youngest virtual service, as the kernel has them."""
    listing = site.inside("se1", "nft", "list", "map", "ip", "avish", "slots").stdout
    number = max(int(mark, 16) for mark in re.findall(r"(0x[0-9a-f]+) \. 0x00000000 :", listing))
    return " ".join(re.findall(rf"0x{number:08x} \. \w+ : ([\d.]+)", listing))


def eventually(holds, seconds=5):
    """Wait for something that the agent does by itself."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_kernel_is_as_configured_after_all_that(mixed):
    done = mixed.avishd("check")
    assert done.returncode == 0, done.stdout + done.stderr

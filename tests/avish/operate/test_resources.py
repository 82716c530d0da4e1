"""The engine as the controller knows it, the insides of a pool, and what was dropped."""

from __future__ import annotations

import pytest

from dataplane.model import over_counter, security_counter

VIP, SERVER = "10.10.10.50", "10.10.40.101"
MEMORY = {"processors": 2, "total_kb": 4096 * 1024, "available_kb": 1024 * 1024, "own_kb": 5000}


@pytest.fixture
def shown(ftp_rig):
    """A function: kind, name and api -> answer; engines with two processors and some dropped packets."""
    facts = {"memory": MEMORY, "links": [], "finished": {"since": 0, "lost": 0, "totals": []}, "persisted": []}
    groups = {"Ip": {"InUnknownProtos": 3, "ReasmTimeout": 4}, "Ip6": {"InReceives": 5}, "Icmp6": {"OutEchos": 6}}
    for driver in ftp_rig.drivers.values():
        driver.fact_values = {**facts, "protocols": groups}

    def show(kind, name, api, **query):
        return ftp_rig.get(f"/api/{kind}/{ftp_rig.one(kind, name)['uuid']}/{api}", **query)

    show.rig, show.se1 = ftp_rig, ftp_rig.drivers["se1"]
    return show


def test_connected_is_the_object_and_its_machine(shown):
    answer = shown("serviceengine", "se1", "connected")
    assert (answer["name"], answer["se_connected"]) == ("se1", True)
    assert answer["resources"] == {"num_cores": 2, "memory": 4096}
    assert answer["se_group_ref"].endswith("#Default-Group")
    assert shown("serviceengine", "se1", "internal") == answer


def test_placement_names_the_services_of_the_engine(shown):
    answer = shown("serviceengine", "se1", "placement")
    assert (answer["memory"], answer["memory_inuse"], answer["memory_free"]) == (4096, 3072, 1024)
    (consumer,) = answer["resources_consumed"]
    assert (consumer["consumer_name"], consumer["vip"]) == ("ftp-vs", [VIP])
    other = shown("serviceengine", "se2", "placement")["resources_consumed"][0]
    assert [consumer["is_primary"], other["is_primary"]] == [True, False]


def test_the_agent_says_how_much_it_was_told_to_hold(shown):
    answer = shown("serviceengine", "se1", "seagent")
    assert answer["registered_with_controller"] is True
    assert answer["config_objects"]["services"] == 1
    assert answer["num_config_objects"] == sum(answer["config_objects"].values())


def test_counters_of_dropped_packets_and_of_ipv6(shown):
    dropped = shown("serviceengine", "se1", "dosstat")
    assert (dropped["unknown_protocol"], dropped["ip_frag_incomplete"]) == (3, 4)
    assert shown("serviceengine", "se1", "ip6stat")["ip6s_total"] == 5
    assert shown("serviceengine", "se1", "icmp6stat")["icp6s_outhist"] == {"ICMP6_ECHO_REQUEST": 6}
    shown.se1.fact_values["protocols"] = {"Ip": {}}
    uuid = shown.rig.one("serviceengine", "se1")["uuid"]
    assert "no IPv6" in shown.rig.call("GET", f"/api/serviceengine/{uuid}/ip6stat").body["error"]


def test_insides_of_a_pool(shown):
    answer = shown("pool", "ftp-pool", "runtime/internal")
    assert (answer["num_servers"], answer["ref_count"], answer["num_persistence_objs"]) == (2, 1, 0)
    assert answer["pool_config"]["health_monitor_refs"][0].endswith("#System-TCP")
    assert answer["slots"][0]["ip_addr"]["addr"] == SERVER
    assert sum(row["slots"] for row in answer["slots"]) >= 2
    debug = shown("pool", "ftp-pool", "runtime/debug")
    assert debug["oper_status"] == answer["oper_status"]
    assert list(debug["hmon_stat"][0]) == ["server_hm_stat"]


def test_a_service_without_a_policy_has_dropped_nothing(shown):
    assert shown("virtualservice", "ftp-vs", "dosstat")["policy_drops"] == 0
    assert shown("virtualservice", "ftp-vs", "clientsummary")["num_client_objs"] == 0
    assert "no network_security_policy_ref" in _refused(shown)


def test_only_rules_that_deny_count_as_dropped(shown):
    rig, service = shown.rig, shown.rig.one("virtualservice", "ftp-vs")
    action = "NETWORK_SECURITY_POLICY_ACTION_TYPE_"
    rules = [
        {"index": number, "name": f"r{number}", "enable": True, "action": action + word, "match": {"client_ip": {
            "match_criteria": "IS_IN", "addrs": [{"addr": f"10.9.9.{number}", "type": "V4"}]}}}
        for number, word in ((1, "ALLOW"), (2, "DENY"), (3, "RATE_LIMIT"))
    ]  # fmt: skip
    rules[2]["rl_param"] = {"max_rate": 2, "burst_size": 2}
    policy = rig.call("POST", "/api/networksecuritypolicy", body={"name": "guard", "rules": rules}).body
    changed = {**service, "network_security_policy_ref": policy["url"]}
    assert rig.call("PUT", f"/api/virtualservice/{service['uuid']}", body=changed).status == 200
    hits = {security_counter(1, number): (count, 0) for number, count in ((1, 5), (2, 7), (3, 9))}
    shown.se1.counter_values = {**hits, over_counter(1, "rule_3"): (4, 0)}
    assert shown("virtualservice", "ftp-vs", "dosstat")["policy_drops"] == 11
    detail = shown("virtualservice", "ftp-vs", "networksecuritypolicydetail")
    assert (detail["policy"]["name"], [row["hits"] for row in detail["rule_stats"]]) == ("guard", [5, 7, 9])
    assert [row["action_hits"] for row in detail["rule_stats"]] == [5, 7, 4]


def test_what_limits_kept_out_is_counted(shown):
    rig, service = shown.rig, shown.rig.one("virtualservice", "ftp-vs")
    limit = {"rate_limiter": {"count": 4, "period": 60}, "action": {"type": "RL_ACTION_RESET_CONN"}}
    most = {"max_concurrent_connections": 2}
    changed = {**service, "max_cps_per_client": 10, "connections_rate_limit": limit, "performance_limits": most}
    assert rig.call("PUT", f"/api/virtualservice/{service['uuid']}", body=changed).status == 200
    over = {"rate": (1, 0), "client_rate": (2, 0), "connections": (3, 0)}
    shown.se1.counter_values = {over_counter(1, name): value for name, value in over.items()}
    found = shown("virtualservice", "ftp-vs", "dosstat")
    assert (found["conn_rl_action_resets"], found["conn_ip_rl_action_drops"]) == (1, 2)
    (front,) = shown("virtualservice", "ftp-vs", "runtime/detail")["fel4stats"]
    names = ("dos_conn_rl_drop", "dos_conn_ip_rl_drop", "connection_dropped_user_limit")
    assert [front[name] for name in names] == [1, 2, 3]


def _refused(shown):
    uuid = shown.rig.one("virtualservice", "ftp-vs")["uuid"]
    return shown.rig.call("GET", f"/api/virtualservice/{uuid}/networksecuritypolicydetail").body["error"]

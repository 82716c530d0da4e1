"""Editing an object: modes, keys, merging, removal, limits."""

from __future__ import annotations

import copy

import pytest
from shelltools import Shell, ip, prefix

POOL = {
    "uuid": "pool-1",
    "name": "p",
    "default_server_port": 80,
    "enabled": True,
    "health_monitor_refs": ["https://c/api/healthmonitor/healthmonitor-1#System-TCP"],
    "servers": [
        {"ip": ip("10.1.1.1"), "port": 80, "ratio": 1, "enabled": True},
        {"ip": ip("10.1.1.2"), "port": 80, "ratio": 1, "enabled": True},
        {"ip": ip("10.1.1.3"), "ratio": 1, "enabled": True},
    ],
}
RULE = {
    "index": 1,
    "name": "first",
    "enable": True,
    "match": {
        "source_ip": {"match_criteria": "IS_IN", "prefixes": [prefix("10.0.0.0/8")]},
        "services": {"source_port": {"match_criteria": "IS_IN", "ports": [20]}},
    },
    "action": {"type": "NAT_POLICY_ACTION_TYPE_DYNAMIC_IP_PORT", "nat_info": [{"nat_ip": ip("10.9.9.9")}]},
}
NAT = {"uuid": "natpolicy-1", "name": "n", "rules": [RULE, {**RULE, "index": 5, "name": "second"}]}
NEW = "New object being created"
TYPE = "nat_policy_action_type_dynamic_ip_port"


@pytest.fixture
def pool():
    shell = Shell({"pool": {"p": copy.deepcopy(POOL)}}, quiet=True)
    shell.type("configure pool p")
    return shell


@pytest.fixture
def nat():
    shell = Shell({"natpolicy": {"n": copy.deepcopy(NAT)}}, quiet=True)
    shell.type("configure natpolicy n")
    return shell


class TestScalars:
    def test_a_value_that_was_there_is_overwritten_with_a_word(self, pool):
        assert pool.type("default_server_port 21") == [
            "Overwriting the previously entered value for default_server_port"
        ]
        assert pool.body["default_server_port"] == 21

    def test_a_first_value_is_silent(self, pool):
        assert pool.type("description hello") == []
        assert pool.type("description again") == ["Overwriting the previously entered value for description"]

    def test_booleans_say_it_too(self, pool):
        assert pool.type("no enabled") == ["Overwriting the previously entered value for enabled"]
        assert pool.body["enabled"] is False

    def test_several_on_one_line(self, pool):
        assert pool.type("enabled 0 default_server_port 21 description x") == [
            "Overwriting the previously entered value for enabled",
            "Overwriting the previously entered value for default_server_port",
        ]

    def test_unset(self, pool):
        assert pool.type("no default_server_port", "no description") == []
        assert "default_server_port" not in pool.body


class TestListsOfScalars:
    def test_naming_again_appends(self, pool):
        assert pool.type("health_monitor_refs System-UDP health_monitor_refs System-Ping") == []
        assert pool.body["health_monitor_refs"][1:] == ["System-UDP", "System-Ping"]

    def test_a_value_that_is_there_is_not_appended(self, pool):
        pool.type("health_monitor_refs System-TCP")
        assert len(pool.body["health_monitor_refs"]) == 1

    def test_removal_by_value(self, pool):
        assert pool.type("no health_monitor_refs System-TCP") == []
        assert pool.body["health_monitor_refs"] == []

    def test_removal_of_what_is_not_there(self, pool):
        assert pool.type("no health_monitor_refs System-UDP") == [
            "error: pool p health_monitor_refs: System-UDP is not in the list"
        ]

    def test_the_limit(self, pool):
        for number in range(49):
            assert pool.type(f"health_monitor_refs hm{number}") == []
        assert pool.type("health_monitor_refs one-more") == [
            "error: pool p health_monitor_refs: at most 50 are possible"
        ]
        assert pool.type("health_monitor_refs hm1") == []
        assert len(pool.body["health_monitor_refs"]) == 50


class TestElements:
    def test_a_new_one(self, pool):
        assert pool.type("servers ip 10.1.1.9 port 90") == [NEW]
        assert pool.session.mode == "pool:servers"
        assert pool.type("ratio 2", "save") == []
        assert pool.body["servers"][3] == {"ip": ip("10.1.1.9"), "port": 90, "ratio": 2}

    def test_a_new_one_over_several_lines_is_told_once(self, pool):
        assert pool.type("servers", "ip 10.1.1.9", "port 90", "save") == [NEW]
        assert len(pool.body["servers"]) == 4

    def test_nothing_reaches_the_object_before_the_save(self, pool):
        pool.type("servers ip 10.1.1.9 port 90")
        assert len(pool.body["servers"]) == 3
        pool.type("cancel")
        assert pool.session.mode == "pool"
        assert pool.body["servers"] == POOL["servers"]

    def test_equal_key_fields_update(self, pool):
        assert pool.type("servers ip 10.1.1.2 port 80 ratio 7", "save") == []
        assert pool.body["servers"][1] == {**POOL["servers"][1], "ratio": 7}
        assert len(pool.body["servers"]) == 3

    def test_key_fields_on_lines_of_their_own_update_too(self, pool):
        pool.type("servers", "ip 10.1.1.2", "port 80")
        assert pool.top == POOL["servers"][1]
        assert pool.type("ratio 7") == ["Overwriting the previously entered value for ratio"]
        pool.type("save")
        assert len(pool.body["servers"]) == 3

    def test_a_key_field_left_out_is_part_of_the_key(self, pool):
        pool.type("servers ip 10.1.1.3 ratio 4", "save")
        assert pool.body["servers"][2]["ratio"] == 4
        pool.type("servers ip 10.1.1.2 ratio 4", "save")
        assert len(pool.body["servers"]) == 4

    def test_what_would_be_an_existing_one_as_it_stands_is_not_called_new(self, pool):
        assert pool.type("servers ip 10.1.1.3", "no ratio", "save") == []
        assert pool.body["servers"][2] == {"ip": ip("10.1.1.3"), "enabled": True}

    def test_what_only_began_like_an_existing_one_is_called_new_when_that_shows(self, pool):
        assert pool.type("servers ip 10.1.1.3") == []
        assert pool.type("port 99", "save") == [NEW]
        assert pool.body["servers"][2:] == [POOL["servers"][2], {"ip": ip("10.1.1.3"), "port": 99}]

    def test_unset_before_the_key_is_known(self, pool):
        pool.type("servers no ratio", "ip 10.1.1.2 port 80", "save")
        assert pool.body["servers"][1] == {"ip": ip("10.1.1.2"), "port": 80, "enabled": True}

    def test_by_number(self, pool):
        assert pool.type("servers index 2 ratio 9") == ["Overwriting the previously entered value for ratio"]
        pool.type("save")
        assert pool.body["servers"][1]["ratio"] == 9

    def test_by_a_number_that_is_none(self, pool):
        assert pool.type("servers index 4") == [
            "error: pool p servers: there is no element 4; it has 3 ('servers' alone makes a new one)"
        ]
        assert pool.session.mode == "pool"

    def test_several_on_one_line_are_each_told(self, pool):
        assert pool.type("servers ip 10.1.1.8 servers ip 10.1.1.9 created_by me") == [NEW, NEW]
        assert [s["ip"]["addr"] for s in pool.body["servers"][3:]] == ["10.1.1.8", "10.1.1.9"]

    def test_a_bare_value(self, pool):
        pool.type("servers 10.1.1.9", "save")
        assert pool.body["servers"][3] == {"ip": ip("10.1.1.9")}

    def test_what_is_required_is_asked_for_at_the_save(self, pool):
        assert pool.type("servers port 90", "save") == [NEW, "error: pool p servers[4]: ip is missing (ip <x.x.x.x>)"]
        assert pool.session.mode == "pool:servers"
        pool.type("ip 10.1.1.9", "save")
        assert pool.session.mode == "pool"

    def test_the_limit(self):
        shell = Shell({"vsvip": {}}, quiet=True)
        shell.type("configure vsvip v", "vip vip_id 1")
        for number in range(10):
            shell.type(f"placement_networks network_ref n{number} subnet 10.{number}.0.0/24", "save")
        assert shell.type("placement_networks network_ref m subnet 10.99.0.0/24", "save") == [
            NEW,
            "error: vsvip v vip[1].placement_networks: at most 10 are possible",
        ]


class TestOwnIndex:
    def test_it_names_the_element(self, nat):
        nat.type("rules index 5 name other", "save")
        assert [rule["name"] for rule in nat.body["rules"]] == ["first", "other"]

    def test_a_new_number_is_a_new_element(self, nat):
        assert nat.type("rules index 2") == [NEW]
        assert nat.top == {"index": 2}

    def test_everything_else_of_the_element_stays(self, nat):
        nat.type("rules index 1 match source_ip prefixes 10.5.0.0/16", "save", "save", "save")
        rule = nat.body["rules"][0]
        assert rule["match"]["services"] == RULE["match"]["services"]
        assert rule["match"]["source_ip"]["prefixes"] == [prefix("10.0.0.0/8"), prefix("10.5.0.0/16")]
        assert rule["match"]["source_ip"]["match_criteria"] == "IS_IN"

    def test_what_was_typed_before_the_index_is_merged(self, nat):
        nat.type("rules", "match services source_port match_criteria is_in ports 21", "save", "save", "save")
        nat.type("index 1", "save")
        rule = nat.body["rules"][0]
        assert rule["match"]["services"]["source_port"]["ports"] == [20, 21]
        assert rule["match"]["source_ip"] == RULE["match"]["source_ip"]
        assert rule["name"] == "first"


class TestRunTwice:
    LINES = (
        "configure natpolicy n",
        "rules",
        "index 1",
        "name first",
        "enable",
        "match",
        "source_ip",
        "match_criteria is_in",
        "prefixes 10.0.0.0/8",
        "save",
        "services",
        "source_port",
        "match_criteria is_in",
        "ports 20",
        "save",
        "save",
        "save",
        "action",
        f"type {TYPE}",
        "nat_info",
        "nat_ip 10.9.9.9",
        "save",
        "save",
        "save",
        "save",
    )

    def test_line_by_line(self):
        shell = Shell()
        shell.type(*self.LINES)
        first = copy.deepcopy(shell.world.objects["natpolicy"]["n"])
        assert first == {"uuid": first["uuid"], "name": "n", "rules": [RULE]}
        shell.type(*self.LINES)
        assert shell.world.objects["natpolicy"]["n"] == first
        assert [call.method for call in shell.world.writes] == ["POST", "PUT"]

    def test_on_one_line(self):
        line = (
            "configure natpolicy n rules index 1 name first enable match source_ip match_criteria is_in prefixes "
            f"10.0.0.0/8 services source_port match_criteria is_in ports 20 action type {TYPE} nat_info nat_ip 10.9.9.9"
        )
        saves = ["save"] * 4
        shell = Shell()
        shell.type(line, *saves)
        first = copy.deepcopy(shell.world.objects["natpolicy"]["n"])
        assert first["rules"] == [RULE]
        shell.type(line, *saves)
        assert shell.world.objects["natpolicy"]["n"] == first

    @pytest.mark.parametrize(
        "lines",
        [
            ("configure vrfcontext global", "static_routes prefix 10.2.0.0/24 next_hop 10.1.1.1", "save", "save"),
            ("configure ipaddrgroup g", "ranges 10.0.0.1-10.0.0.9", "addrs 10.0.0.1", "prefixes 10.0.0.0/8", "save"),
            ("configure vsvip v", "vip vip_id 1 ip_address 10.0.0.1", "save", "save"),
            ("configure virtualservice v", "services port 21", "save", "services 80", "save", "save"),
            ("configure vrfcontext global", "gateway_mon 10.0.0.1", "save", "save"),
            ("configure network n", "markers key a", "values x", "values y", "save", "save"),
        ],
    )
    def test_other_objects(self, lines):
        shell = Shell()
        shell.type(*lines)
        (kind,) = shell.world.objects
        first = copy.deepcopy(shell.world.objects[kind])
        shell.type(*lines)
        assert shell.world.objects[kind] == first

    def test_debug_of_an_engine_that_is_there(self):
        shell = Shell()
        shell.world.objects["serviceengine"] = {"se1": {"uuid": "serviceengine-1", "name": "se1"}}
        lines = ("debug serviceengine se1", "flags flag debug_pcap_nat", "flags debug_pcap_rx", "save")
        shell.type(*lines)
        first = copy.deepcopy(shell.world.objects["debugserviceengine"])
        shell.type(*lines)
        assert shell.world.objects["debugserviceengine"] == first


class TestNestedMessages:
    def test_cancel_leaves_the_old_one(self, nat):
        nat.type("rules index 1", "match", "source_ip prefixes 10.7.0.0/16", "save", "cancel", "save")
        assert nat.body["rules"][0] == RULE

    def test_unset_removes_the_whole(self, nat):
        nat.type("rules index 1", "match no services", "save", "save")
        assert "services" not in nat.body["rules"][0]["match"]
        assert "source_ip" in nat.body["rules"][0]["match"]

    def test_a_field_of_the_parent_saves_the_inner_one(self, nat):
        nat.type(
            "rules index 1",
            "match",
            "source_ip prefixes 10.7.0.0/16",
            "action nat_info nat_ip 10.9.9.8",
            "description x",
        )
        assert nat.session.mode == "natpolicy"
        rule = nat.body["rules"][0]
        assert rule["match"]["source_ip"]["prefixes"][1] == prefix("10.7.0.0/16")
        assert rule["action"]["nat_info"] == [{"nat_ip": ip("10.9.9.9")}, {"nat_ip": ip("10.9.9.8")}]

    def test_a_field_of_the_parent_cannot_save_what_is_incomplete(self, nat):
        assert nat.type("rules index 9", "match", "description x")[-1].startswith("error: natpolicy n rules[3]: ")
        assert nat.session.mode == "natpolicy:rules"

    def test_a_missing_message_says_how_to_enter_it(self, nat):
        nat.type("rules index 9 name x enable", "match", "save")
        assert nat.type("save") == ["error: natpolicy n rules[3]: action is missing (action, then its fields)"]

    def test_ranges_in_both_forms_are_the_same(self):
        shell = Shell(quiet=True)
        shell.type(
            "configure ipaddrgroup g", "ranges 10.0.0.1-10.0.0.9", "ranges", "begin 10.0.0.1", "end 10.0.0.9", "save"
        )
        assert shell.body["ranges"] == [{"begin": ip("10.0.0.1"), "end": ip("10.0.0.9")}]


class TestRemoval:
    def test_by_key_fields(self, pool):
        assert pool.type("no servers ip 10.1.1.2 port 80") == ["Removed servers with ip=10.1.1.2, port=80"]
        assert [s["ip"]["addr"] for s in pool.body["servers"]] == ["10.1.1.1", "10.1.1.3"]

    def test_by_some_fields_takes_all_that_match(self, pool):
        assert pool.type("no servers port 80") == ["Removed servers with port=80"]
        assert [s["ip"]["addr"] for s in pool.body["servers"]] == ["10.1.1.3"]

    def test_by_number(self, pool):
        assert pool.type("no servers index 1") == ["Removed servers with index=1"]
        assert [s["ip"]["addr"] for s in pool.body["servers"]] == ["10.1.1.2", "10.1.1.3"]

    def test_by_own_index(self, nat):
        assert nat.type("no rules index 5") == ["Removed rules with index=5"]
        assert [rule["index"] for rule in nat.body["rules"]] == [1]

    def test_by_range(self):
        shell = Shell(quiet=True)
        shell.type("configure ipaddrgroup g", "ranges 10.0.0.1-10.0.0.9", "ranges 10.0.1.1-10.0.1.9")
        assert shell.type("no ranges 10.0.0.1-10.0.0.9") == ["Removed ranges with range=10.0.0.1-10.0.0.9"]
        assert shell.body["ranges"] == [{"begin": ip("10.0.1.1"), "end": ip("10.0.1.9")}]

    def test_by_a_reference(self, nat):
        nat.type("rules index 1", "match", "source_ip group_refs Internal", "save")
        nat.top["source_ip"]["group_refs"] = ["https://c/api/ipaddrgroup/ipaddrgroup-1#Internal"]
        nat.type("source_ip", "no group_refs Internal")
        assert nat.top["group_refs"] == []

    def test_of_what_is_not_there(self, pool):
        assert pool.type("no servers ip 10.9.9.9", "no servers index 9") == [
            "error: pool p servers: there is none with ip=10.9.9.9",
            "error: pool p servers: there is none with index=9",
        ]


def test_the_stored_object_is_never_touched(pool):
    stored = copy.deepcopy(pool.session.candidate.stored)
    pool.type("servers index 1 ratio 5", "save", "no servers index 2", "no health_monitor_refs System-TCP", "enabled 0")
    assert pool.session.candidate.stored == stored


class TestElementsWithoutAKey:
    """``content_rewrite rsp_rewrite_rules``: no field tells one from another."""

    @pytest.fixture
    def shell(self):
        rules = [{}]
        body = {"uuid": "virtualservice-1", "name": "v", "content_rewrite": {"rsp_rewrite_rules": rules}}
        shell = Shell({"virtualservice": {"v": body}}, quiet=True)
        shell.type("configure virtualservice v", "content_rewrite")
        return shell

    def test_an_empty_one_typed_over_an_empty_one_is_that_one(self, shell):
        assert shell.type("rsp_rewrite_rules", "save") == []
        assert len(shell.top["rsp_rewrite_rules"]) == 1

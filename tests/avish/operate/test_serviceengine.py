from __future__ import annotations

import pytest

from avish.controller.reads import BESIDE
from avish.operate.registry import RUN, lint
from avish.schema.load import schema
from dataplane.fake import FakeDriver
from dataplane.model import NAT_MARK


def flow(**fields):
    base = {
        "protocol": 6,
        "src": "10.10.40.101",
        "sport": 20,
        "dst": "10.10.20.100",
        "dport": 40000,
        "reply_src": "10.10.20.100",
        "reply_sport": 40000,
        "reply_dst": "10.10.10.50",
        "reply_dport": 20,
        "status": 0x1E,
        "mark": NAT_MARK | 1,
        "state": "ESTABLISHED",
        "timeout": 300,
        "age": 12.7,
        "last_used": 3,
        "packets": 1,
        "bytes": 1,
        "reply_packets": 1,
        "reply_bytes": 1,
    }
    return base | fields


def test_the_grammar_asks_for_what_there_is():
    lint(schema())
    assert {command.run for command in schema().commands if command.run} | set(BESIDE.values()) == set(RUN)


def test_vshash_has_a_row_per_port_and_interface_of_the_active_engine(ftp_rig):
    answer = ftp_rig.show("serviceengine", "se1", "vshash")
    uuid = ftp_rig.one("virtualservice", "ftp-vs")["uuid"]
    assert answer["se_ref"] == f"se1:{ftp_rig.one('serviceengine', 'se1')['uuid']}"
    assert [
        (row["vsuuid"], row["ip"], row["port"], row["port_end"], row["vnic_id"]) for row in answer["vshashone"]
    ] == [(uuid, "10.10.10.50", 21, 21, 2), (uuid, "10.10.10.50", 21, 21, 3)]
    assert ftp_rig.show("serviceengine", "se2", "vshash")["vshashone"] == []


def test_vshash_says_what_the_kernel_holds_not_what_is_configured(ftp_rig):
    from dataplane.model import SeState

    ftp_rig.drivers["se1"].kernel = SeState()
    assert ftp_rig.show("serviceengine", "se1", "vshash")["vshashone"] == []


@pytest.mark.parametrize("word", ["natpolicystat", "natpolicystats"])
def test_natpolicystat_counts(ftp_rig, word):
    ftp_rig.drivers["se1"].counter_values = {"nat_1_evaluated": (5, 300), "nat_1_hits": (3, 180)}
    policy = ftp_rig.show("serviceengine", "se1", word)["nat_policy"][0]
    assert policy["name"] == "ftp-nat"
    assert policy["rule_stats"] == [
        {"index": 1, "name": "active-ftp-data", "hits": 3, "evaluated": 5, "action_hits": 3}
    ]


def test_a_rule_that_is_off_keeps_its_counters(ftp_rig):
    rule = ftp_rig.one("natpolicy", "ftp-nat")["rules"][0]
    assert ftp_rig.change("natpolicy", "ftp-nat", rules=[{**rule, "enable": False}]).status == 200
    (stat,) = ftp_rig.show("serviceengine", "se1", "natpolicystat")["nat_policy"][0]["rule_stats"]
    assert stat["name"] == rule["name"]


def test_nat_flows_show_both_sides(ftp_rig):
    ftp_rig.drivers["se1"].flow_rows = [flow(), flow(mark=1), flow(mark=0)]
    rows = ftp_rig.show("serviceengine", "se1", "nat-flows")["natflow"]
    assert rows == [
        {
            "vrf_name": "global",
            "protocol": 6,
            "original_flow": {"l_ip": "10.10.40.101", "l_port": 20, "f_ip": "10.10.20.100", "f_port": 40000},
            "mapped_flow": {"l_ip": "10.10.10.50", "l_port": 20, "f_ip": "10.10.20.100", "f_port": 40000},
            "state_name": "established",
            "age": "12 sec",
            "last_used": "3 sec",
        }
    ]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"state": "SYN_SENT"}, "setup"),
        ({"state": "FIN_WAIT"}, "half_closed"),
        ({"state": "TIME_WAIT"}, "closed"),
        ({"state": "CLOSE"}, "reset"),
        ({"state": ""}, "unknown"),
        ({"protocol": 17, "state": "", "status": 0}, "noresponse"),
        ({"protocol": 1, "state": "", "status": 2}, "response"),
    ],
)
def test_states_of_flows(ftp_rig, fields, word):
    ftp_rig.drivers["se1"].flow_rows = [flow(**fields, age=None)]
    row = ftp_rig.show("serviceengine", "se1", "nat-flows")["natflow"][0]
    assert (row["state_name"], row["age"]) == (word, "unknown")


def test_route_flows_leave_out_translated_and_own_ones(ftp_rig):
    ftp_rig.drivers["se1"].flow_rows = [
        flow(mark=0, status=0xE, reply_dst="10.10.40.101"),
        flow(mark=0, status=0x1E),
        flow(mark=0, status=0xE, src="10.10.40.11"),
        flow(mark=0, status=0xE, dst="10.10.10.1"),
        flow(mark=0, status=0xE, src="127.0.0.1", dst="127.0.0.1"),
        flow(mark=1, status=0xE),
    ]
    rows = ftp_rig.show("serviceengine", "se1", "route-flows")["routeflow"]
    assert [row["original_flow"]["l_ip"] for row in rows] == ["10.10.40.101"]
    assert rows[0]["mapped_flow"] == rows[0]["original_flow"]


def test_network_service_is_what_is_in_effect(ftp_rig):
    active = ftp_rig.show("serviceengine", "se1", "network-service")["network_service"][0]
    assert active["network_service_name"] == "ftp-routing"
    assert active["routing_service"]["ip_forwarding"] is True
    assert active["routing_service"]["floating_intf_ip"] == ["10.10.40.1", "10.10.10.1"]
    assert active["routing_service"]["nat_policy_uuid"] == ftp_rig.one("natpolicy", "ftp-nat")["uuid"]
    standby = ftp_rig.show("serviceengine", "se2", "network-service")["network_service"][0]["routing_service"]
    assert (standby["enable_routing"], standby["ip_forwarding"], standby["floating_intf_ip"]) == (True, False, [])


def test_routes_neighbours_and_interfaces(ftp_rig):
    routes = ftp_rig.show("serviceengine", "se1", "route")["route_entry"]
    static = next(row for row in routes if row["destination"] == "10.10.20.0")
    assert (static["gateway"], static["netmask"], static["rt_flags"]) == ("10.10.10.254", "255.255.255.0", "UGS")
    ftp_rig.drivers["se1"].neighbour_rows = [
        {"ip": "10.10.10.254", "mac": None, "interface": "eth1", "state": "INCOMPLETE"}
    ]
    assert ftp_rig.show("serviceengine", "se1", "arptable")["arp_entry"] == [
        {
            "vnic_name": "eth1",
            "ip_address": "10.10.10.254",
            "mac_address": "incomplete",
            "vrf_id": 0,
            "state": "INCOMPLETE",
        }
    ]
    entry = ftp_rig.show("serviceengine", "se1", "interfacesummary")["interface_entries"][0]
    assert (entry["intf_name"], entry["intf_state"]) == ("eth1", "UP")
    assert {"ip_addr": "10.10.10.11", "net_mask": "255.255.255.0"} in entry["ip_info"]


def test_summary_of_an_engine_that_answers_and_of_one_that_does_not(ftp_rig):
    up = ftp_rig.show("serviceengine", "se1", "runtime")
    assert (up["oper_status"]["state"], up["se_connected"], up["active_tags"]) == (
        "OPER_UP",
        True,
        ["ACTIVE_STANDBY_SE_1"],
    )
    assert up["oper_status"]["last_changed_time"]["secs"] == 1_700_000_000
    assert "active_tags" not in ftp_rig.show("serviceengine", "se2", "runtime")
    ftp_rig.drivers["se1"].reachable = False
    down = ftp_rig.show("serviceengine", "se1", "runtime")
    assert down["oper_status"] == {"state": "OPER_DOWN", "reason": ["no agent answers"]}
    assert down["se_connected"] is False


def test_an_engine_that_the_topology_no_longer_has(ftp_rig):
    ftp_rig.close()
    ftp_rig.names = ("se1", "se2", "ghost")
    ftp_rig.drivers["ghost"] = FakeDriver(ftp_rig.drivers["se2"].own_interfaces)
    ftp_rig.start()
    ftp_rig.close()
    ftp_rig.names = ("se1", "se2")
    ftp_rig.start()
    uuid = ftp_rig.one("serviceengine", "ghost")["uuid"]
    answer = ftp_rig.call("GET", f"/api/serviceengine/{uuid}/vshash")
    assert answer.status == 503
    assert "ghost" in answer.body["error"]
    assert ftp_rig.show("serviceengine", "ghost", "runtime")["oper_status"]["state"] == "OPER_DOWN"


def test_what_is_cleared_is_forgotten_by_the_kernels(ftp_rig):
    driver = ftp_rig.drivers["se1"]
    number = next(iter(driver.kernel.services))
    driver.flow_rows = [flow(mark=number), flow(mark=number), flow()]
    bound = {"mark": number, "client": "10.10.20.9", "ip": "10.10.40.101", "port": 21, "timeout": 60, "left": 9}
    driver.fact_values["persisted"] = [bound, bound | {"ip": "10.99.0.1"}]
    driver.neighbour_rows = [{"ip": "10.10.40.101", "mac": "02:00:00:00:00:01", "interface": "eth2", "state": "STALE"}]
    for kind, name, api, count in (
        ("virtualservice", "ftp-vs", "runtime/connections/forget", 2),
        ("pool", "ftp-pool", "runtime/persistence/forget", 1),
        ("serviceengine", "se1", "flowtable/forget", 1),
        ("serviceengine", "se1", "arptable/forget", 1),
        ("serviceengine", "se1", "ndtable/forget", 0),
    ):
        answer = ftp_rig.call("POST", f"/api/{kind}/{ftp_rig.one(kind, name)['uuid']}/{api}")
        assert (answer.status, answer.body) == (200, {"name": name, "num_forgotten": count})
    assert (driver.flow_rows, driver.neighbour_rows) == ([], [])
    assert [row["ip"] for row in driver.fact_values["persisted"]] == ["10.99.0.1"]

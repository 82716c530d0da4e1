"""The shows that sum up, filter and count from a base: what the engines' kernels say goes in, rows come out."""

from __future__ import annotations

import pytest

from avish.operate.counts import Count, since
from dataplane.model import NAT_MARK

CLIENT, VIP, FIRST, SECOND = "10.10.20.100", "10.10.10.50", "10.10.40.101", "10.10.40.102"


def flow(sport=40000, server=FIRST, **fields):
    row = {
        "protocol": 6, "src": CLIENT, "sport": sport, "dst": VIP, "dport": 21,
        "reply_src": server, "reply_sport": 21, "reply_dst": CLIENT, "reply_dport": sport,
        "status": 0xE, "mark": 1, "state": "ESTABLISHED", "timeout": 300, "age": 12, "last_used": 3,
        "packets": 10, "bytes": 1000, "reply_packets": 20, "reply_bytes": 5000,
    }  # fmt: skip
    return row | fields


def ended(flows=2, server=FIRST, **fields):
    row = {
        "mark": 1, "protocol": 6, "dport": 21, "reply_src": server, "reply_sport": 21, "flows": flows,
        "packets": 100, "bytes": 200, "reply_packets": 300, "reply_bytes": 400, "states": {"TIME_WAIT": flows},
    }  # fmt: skip
    return row | fields


def link(name="eth1", index=2, **statistics):
    return {
        "name": name, "index": index, "mac": f"02:00:00:00:0{index}:01", "mtu": 1500, "up": True, "running": True,
        "kind": "veth", "master": "", "vlan": 0, "statistics": {"rx_packets": 7, "rx_bytes": 70, **statistics},
    }  # fmt: skip


@pytest.fixture
def shown(ftp_rig):
    """A function: kind, name, api and query -> answer; the engines have nothing ended until told."""
    for driver in ftp_rig.drivers.values():
        driver.fact_values = {"finished": {"since": 0, "lost": 0, "totals": []}, "links": [link(), link("eth2", 3)]}

    def show(kind, name, api, **query):
        return ftp_rig.get(f"/api/{kind}/{ftp_rig.one(kind, name)['uuid']}/{api}", **query)

    show.rig, show.se1 = ftp_rig, ftp_rig.drivers["se1"]
    return show


def test_a_service_sums_what_is_open_and_what_has_ended(shown):
    shown.se1.flow_rows = [flow(), flow(40001, SECOND), flow(40002, state="TIME_WAIT"), flow(40003, mark=2)]
    shown.se1.fact_values["finished"]["totals"] = [ended(5), ended(7, mark=3)]
    shown.se1.counter_values = {"service_1": (9, 0)}
    (stats,) = shown("virtualservice", "ftp-vs", "runtime/detail")["fel4stats"]
    assert (stats["open_conns"], stats["finished_conns"], stats["complete_conns"]) == (2, 6, 9)
    assert (stats["rx_pkts"], stats["tx_bytes"]) == (130, 15400)
    tcp = shown("virtualservice", "ftp-vs", "tcpstat")
    assert tcp["connection_stats"]["connections_accepted"] == 8
    assert tcp["open_connections"] == {"setup": 0, "established": 2, "half_closed": 0}


def test_a_port_of_the_service_and_an_engine_can_be_asked_for_alone(shown):
    shown.se1.flow_rows = [flow(), flow(40001, dport=990)]
    (stats,) = shown("virtualservice", "ftp-vs", "runtime/detail", service_port="990")["fel4stats"]
    assert stats["open_conns"] == 1
    blocks = shown("virtualservice", "ftp-vs", "tcpstat", disable_aggregate="se")
    assert [block["connection_stats"]["connections_accepted"] for block in blocks] == [2, 0]
    only = shown("virtualservice", "ftp-vs", "tcpstat", se_ref="se2")
    assert only["connection_stats"]["connections_accepted"] == 0


def test_servers_are_told_apart(shown):
    shown.se1.flow_rows = [flow(), flow(40001, SECOND), flow(40002, SECOND)]
    shown.se1.fact_values["finished"]["totals"] = [ended(3, SECOND)]
    rows = shown("pool", "ftp-pool", "runtime/server/detail")
    assert [
        (r["ip_addr"]["addr"], r["server_l4stats"]["open_conns"], r["server_l4stats"]["finished_conns"]) for r in rows
    ] == [
        (FIRST, 1, 0),
        (SECOND, 2, 3),
    ]
    (row,) = shown(
        "pool", "ftp-pool", "runtime/server/internal", server_ip="10.10.40.0", server_mask="24", server_end_ip=FIRST
    )
    assert (row["ip_addr"]["addr"], row["slots"]) == (FIRST, 1)
    assert shown("pool", "ftp-pool", "runtime/detail")["pool_stats"] == {
        "total_connections": 6,
        "current_connections": 3,
    }
    assert [vs["name"] for vs in shown("pool", "ftp-pool", "vs")["vs"]] == ["ftp-vs"]
    assert shown("pool", "ftp-pool", "runtime/server", server_ip=SECOND)[0]["ip_addr"]["addr"] == SECOND


@pytest.mark.parametrize(
    ("query", "ports"),
    [
        ({}, [40000, 40001, 50000]),
        ({"src_port": "40000", "src_port_hi": "40009"}, [40000, 40001]),
        ({"src_ip_addr": "10.10.21.0", "src_ip_mask": "255.255.255.0"}, [50000]),
        ({"src_ip_addr": CLIENT}, [40000, 40001]),
        ({"dst_ip_addr": "10.10.10.0", "dst_ip_mask": "24", "protocol_str": "tcp"}, [40000, 40001, 50000]),
        ({"protocol_str": "udp"}, []),
        ({"intfname": "eth2"}, []),
        ({"core_num": "3"}, []),
    ],
)
def test_the_filters_of_flowtable(shown, query, ports):
    shown.se1.flow_rows = [
        flow(), flow(40001), flow(50000, src="10.10.21.7"), flow(60000, mark=0), flow(60001, mark=NAT_MARK | 1),
    ]  # fmt: skip
    rows = shown("serviceengine", "se1", "flowtable", **query)["flow_entries"]
    assert [row["src_port"] for row in rows] == ports


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"src_ip_addr": CLIENT, "src_ip_mask": "33"}, "src_ip_mask"),
        ({"src_ip_mask": "24"}, "goes with src_ip_addr"),
        ({"src_port": "10", "src_port_hi": "9"}, "below src_port"),
        ({"protocol_str": "ipx"}, "none of tcp"),
        ({"src_port": "x"}, "not a whole number"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(shown, query, words):
    answer = shown.rig.call(
        "GET", f"/api/serviceengine/{shown.rig.one('serviceengine', 'se1')['uuid']}/flowtable", **query
    )
    assert answer.status == 400
    assert words in answer.body["error"]


def test_a_long_answer_comes_in_pages_and_each_page_once(shown):
    shown.se1.flow_rows = [flow(1000 + number) for number in range(7)]
    uuid = shown.rig.one("virtualservice", "ftp-vs")["uuid"]
    path = f"/api/virtualservice/{uuid}/connections"
    page = shown.rig.get(path, page_size="3")
    seen = list(page["connection"])
    while "next_cursor" in page:
        token = page["next_cursor"]
        page = shown.rig.get(path, cursor=token, page_size="3")
        seen += page["connection"]
    assert [row["client_src_port"] for row in seen] == list(range(1000, 1007))
    again = shown.rig.call("GET", path, cursor=token)
    assert (again.status, "first one again" in again.body["error"]) == (404, True)


def test_cleared_counters_start_again_and_stay_so_after_a_restart(shown):
    rig, uuid = shown.rig, shown.rig.one("serviceengine", "se1")["uuid"]
    assert shown("serviceengine", "se1", "interface")["vnics"][0]["interface_stats"]["ipackets"] == 7
    assert rig.call("POST", f"/api/serviceengine/{uuid}/interface/clear").status == 200
    shown.se1.fact_values["links"] = [link(rx_packets=12), link("eth2", 3)]
    rig.restart()
    first, second = shown("serviceengine", "se1", "interface")["vnics"]
    assert (first["interface_stats"]["ipackets"], second["interface_stats"]["ipackets"]) == (5, 0)
    assert (first["vnic_mtu"], first["vnic_id"]) == (1500, 2)


def test_a_counter_below_its_base_has_begun_anew():
    base = {"rows": [{"name": "a", "n": 10}, {"name": "b", "n": 3}], "size": 5}
    now = {
        "rows": [{"name": "b", "n": Count(4)}, {"name": "a", "n": Count(2)}, {"name": "c", "n": Count(1)}],
        "size": 5,
    }
    assert since(now, base) == {
        "rows": [{"name": "b", "n": 1}, {"name": "a", "n": 2}, {"name": "c", "n": 1}],
        "size": 5,
    }


def test_nat_sums_tell_protocols_and_states_apart(shown):
    shown.se1.flow_rows = [flow(mark=NAT_MARK | 1), flow(mark=NAT_MARK | 1, protocol=17, state="", status=0)]
    totals = [ended(4, mark=NAT_MARK | 1, states={"CLOSE": 1, "TIME_WAIT": 3})]
    shown.se1.fact_values["finished"]["totals"] = totals
    answer = shown("serviceengine", "se1", "natstat")
    assert answer["tcpstats"]["num_flows"] == 5
    assert answer["tcpstats"]["num_flows_finished_in_reset"] == 1
    assert answer["udpstats"]["num_flows_in_noresponse"] == 1


def test_what_an_engine_has_and_what_for(shown):
    kinds = {
        row["ip_address"]: row["ipaddresstype"] for row in shown("serviceengine", "se1", "vrf-ip-info")["vrf_ip_info"]
    }
    assert kinds[VIP] == "VIP"
    assert kinds["10.10.40.1"] == "FLOATING_INTERFACE"
    assert kinds["10.10.10.11"] == "INTERFACE"


def test_bgp_that_nobody_configured_says_so(shown):
    answer = shown.rig.call("GET", f"/api/serviceengine/{shown.rig.one('serviceengine', 'se1')['uuid']}/bgp")
    assert (answer.status, "bgp_profile" in answer.body["error"]) == (400, True)


def test_bgp_peers_are_shown_as_configured_and_as_silent(shown):
    peers = [
        {"peer_ip": {"addr": "10.10.10.254", "type": "V4"}, "md5_secret": "hidden", "remote_as": 65001},
        {"peer_ip6": {"addr": "fd00::1", "type": "V6"}, "shutdown": True, "remote_as": 65002},
    ]
    vrf = shown.rig.one("vrfcontext", "global")
    profile = {"local_as": 65000, "ibgp": False, "peers": peers}
    kept = shown.rig.call("PUT", f"/api/vrfcontext/{vrf['uuid']}", body={**vrf, "bgp_profile": profile})
    assert kept.status == 200
    (found,) = shown("serviceengine", "se1", "bgp")
    assert (found["vrf"], found["local_as"], found["active"]) == ("global", 65000, False)
    assert "nothing is announced" in found["debug_info"]
    first, second = found["peers"]
    assert (first["peer_ip"]["addr"], first["remote_as"], first["active"]) == ("10.10.10.254", 65001, False)
    assert (first["bgp_state"][:4], second["bgp_state"]) == ("Idle", "Idle (Admin)")
    assert "hidden" not in str(found)


def test_routestat_leaves_out_what_the_engine_itself_had(shown):
    totals = [ended(5, mark=0) | {"own": False}, ended(9, mark=0) | {"own": True}, ended(3)]
    shown.se1.fact_values["finished"]["totals"] = totals
    assert shown("serviceengine", "se1", "routestat")["tcpstats"]["num_flows"] == 5


def test_a_state_has_one_number_whether_of_a_service_or_a_socket(shown):
    socket = {"ip": "10.10.20.1", "port": 9, "peer": CLIENT, "peer_port": 40001, "state": 6, "state_name": "TIME_WAIT"}
    shown.se1.flow_rows = [flow(state="TIME_WAIT")]
    shown.se1.fact_values["sockets"] = [socket]
    rows = shown("serviceengine", "se1", "tcp-flows")["connection"]
    assert [(row["tcp_state"], row["tcp_state_name"]) for row in rows] == [(6, "TIME_WAIT")] * 2
    assert shown("serviceengine", "se1", "flowtable")["flow_entries"][0]["tcp_state"] == 6


def test_addresses_that_the_standby_holds_back_do_not_answer_arp(shown):
    def arp(engine):
        rows = shown("serviceengine", engine, "vrf-ip-info")["vrf_ip_info"]
        return {row["ip_address"]: row["arp_enabled"] for row in rows}["10.10.10.50"]

    assert (arp("se1"), arp("se2")) == (True, False)


@pytest.mark.parametrize("api", ["interface", "flowtable", "flowtablestat"])
def test_an_interface_that_is_not_there_is_named_with_those_that_are(shown, api):
    uuid = shown.rig.one("serviceengine", "se1")["uuid"]
    answer = shown.rig.call("GET", f"/api/serviceengine/{uuid}/{api}", intfname="eth9")
    assert answer.status == 400
    assert "there is no interface 'eth9'; there are eth1, eth2" in answer.body["error"]


def test_connections_that_are_over_are_not_the_busiest(shown):
    states = enumerate(("ESTABLISHED", "TIME_WAIT", "CLOSE", "SYN_SENT"))
    shown.se1.flow_rows = [flow(40000 + place, state=state) for place, state in states]
    rows = shown.rig.get("/api/top/flows")["top"]
    assert sorted(row["state"] for row in rows) == ["established", "setup"]

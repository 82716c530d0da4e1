from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from avish.config.store import Who
from avish.config.transaction import Delete
from avish.controller.debug import CaptureSwitch
from dataplane.errors import RefusedError
from dataplane.model import NAT_MARK, AddressMatch
from dataplane.taps import FlagMatch, Packet, PacketMatch, PortRange

FLAG = [{"flag": "DEBUG_PCAP_NAT"}]


def packet(mark):
    return Packet(1_700_000_000 * 10**9, "before", "original", mark, "eth1", 40, b"\x45" + b"\0" * 39)


def job(rig, name="se1"):
    uuid = rig.one("debugserviceengine", name)["uuid"]
    return rig.controller.captures.job(("debugserviceengine", uuid))


def test_every_engine_has_a_debug_object(rig):
    bodies = rig.get("/api/debugserviceengine")["results"]
    assert [body["name"] for body in bodies] == ["se1", "se2"]
    engine = rig.one("serviceengine", "se1")["uuid"]
    assert bodies[0]["uuid"] == engine.replace("serviceengine-", "debugserviceengine-")
    assert rig.get(f"/api/debugserviceengine/{bodies[0]['uuid']}") == bodies[0]
    assert rig.get("/api/debugserviceengine", name="nobody")["count"] == 0
    assert rig.call("GET", "/api/debugserviceengine/debugserviceengine-x").status == 404


def test_the_flag_starts_and_ends_the_capture(rig):
    answer = rig.change("debugserviceengine", "se1", flags=FLAG, capture_params={"num_pkts": 5})
    assert answer.status == 200, answer.body
    assert answer.body["capture_status"]["state"] == "running"
    assert answer.body["capture_status"]["limits"]["packets"] == 5
    assert job(rig).state == "running"
    body = rig.one("debugserviceengine", "se1")
    again = rig.call("PUT", f"/api/debugserviceengine/{body['uuid']}", body)
    assert again.status == 200, again.body
    assert len(rig.drivers["se1"].captures) == 1
    assert rig.change("debugserviceengine", "se1", flags=[]).status == 200
    assert (job(rig).state, job(rig).reason) == ("ended", "stopped by admin")
    assert "capture_status" not in rig.one("debugserviceengine", "se1")


def test_a_reader_follows_until_the_flag_goes(ftp_rig):
    ftp_rig.change("debugserviceengine", "se1", flags=FLAG)
    uuid = ftp_rig.one("debugserviceengine", "se1")["uuid"]
    stream = ftp_rig.call("GET", f"/api/debugserviceengine/{uuid}/capture").stream
    ftp_rig.drivers["se1"].captures[0].feed([packet(NAT_MARK | 1), packet(1)])
    ftp_rig.change("debugserviceengine", "se1", flags=[])
    events = list(stream)
    assert [event["event"] for event in events if event["event"] != "status"] == [
        "started",
        "packet",
        "packet",
        "ended",
    ]
    packets = [event for event in events if event["event"] == "packet"]
    assert packets[0]["rule"] == "ftp-nat/1 active-ftp-data"
    assert packets[1]["virtualservice"] == "ftp-vs"


def test_a_tap_that_is_refused_refuses_the_save(rig):
    revision = rig.head.config.revision
    rig.drivers["se1"].failures["capture"] = RefusedError("no tap here")
    answer = rig.change("debugserviceengine", "se1", flags=FLAG)
    assert answer.status == 422
    assert rig.head.config.revision == revision
    assert "flags" not in rig.one("debugserviceengine", "se1")


def test_a_refused_save_leaves_no_tap(rig):
    answer = rig.change("debugserviceengine", "se1", flags=FLAG, capture_params={"pkt_size": 3})
    assert answer.status == 400
    assert rig.drivers["se1"].captures == []


def test_a_change_that_cannot_be_kept_takes_its_tap_down(rig, monkeypatch):
    monkeypatch.setattr(rig.controller.store, "journal", lambda *args: 1 / 0)
    try:
        rig.change("debugserviceengine", "se1", flags=FLAG)
    except ZeroDivisionError:
        assert job(rig).state == "ended"


def test_after_a_restart_the_flag_reads_as_armed(rig):
    rig.change("debugserviceengine", "se1", flags=FLAG)
    rig.restart()
    status = rig.one("debugserviceengine", "se1")["capture_status"]
    assert status == {"state": "armed, not running"}
    uuid = rig.one("debugserviceengine", "se1")["uuid"]
    assert rig.call("GET", f"/api/debugserviceengine/{uuid}/capture").status == 404
    assert rig.change("debugserviceengine", "se1").status == 200
    assert job(rig).state == "running"


def test_delete_goes_back_to_the_defaults(rig):
    rig.change("debugserviceengine", "se1", flags=FLAG)
    uuid = rig.one("debugserviceengine", "se1")["uuid"]
    assert rig.call("DELETE", f"/api/debugserviceengine/{uuid}").status == 204
    assert "flags" not in rig.one("debugserviceengine", "se1")
    assert job(rig).state == "ended"


def test_a_debug_object_of_nothing_is_refused(rig):
    assert rig.call("POST", "/api/debugserviceengine", {"name": "se9"}).status == 404
    assert rig.call("PUT", "/api/debugserviceengine/debugserviceengine-x", {"name": "se1"}).status in (400, 404, 409)
    answer = rig.call("POST", "/api/debugserviceengine", {"name": "se1", "flags": FLAG})
    assert answer.status == 201
    assert rig.get("/api/debugserviceengine")["count"] == 2


def test_of_two_captures_asked_for_together_none_runs_when_one_is_refused(rig):
    rig.drivers["se2"].failures["capture"] = RefusedError("no tap here")
    requests = []
    for name in ("se1", "se2"):
        body = rig.one("debugserviceengine", name)
        path = f"/api/debugserviceengine/{body['uuid']}"
        requests.append({"method": "PUT", "path": path, "body": {**body, "flags": FLAG}})
    assert rig.call("POST", "/api/transaction", {"requests": requests}).status == 422
    assert job(rig).state == "ended"
    assert rig.drivers["se1"].captures[0].closed
    assert job(rig, "se2") is None


def test_a_flag_set_right_after_it_was_unset_keeps_its_capture(rig, monkeypatch):
    rig.change("debugserviceengine", "se1", flags=FLAG)
    committer = rig.controller.committer
    real = committer.commit

    def followed(*args, **options):
        monkeypatch.undo()
        outcome = real(*args, **options)
        assert rig.change("debugserviceengine", "se1", flags=FLAG).status == 200
        return outcome

    monkeypatch.setattr(committer, "commit", followed)
    assert rig.change("debugserviceengine", "se1", flags=[]).status == 200
    assert rig.one("debugserviceengine", "se1")["capture_status"]["state"] == "running"


def test_a_capture_ends_with_its_engine(rig):
    rig.change("debugserviceengine", "se1", flags=FLAG)
    started = job(rig)
    gone = Delete("serviceengine", rig.one("serviceengine", "se1")["uuid"])
    effect = CaptureSwitch(rig.controller.captures).effect("admin")
    rig.controller.committer.commit(lambda head: [gone], Who("admin"), effect=effect)
    assert started.state == "ended"


def test_an_engine_that_left_the_topology_has_no_capture(rig):
    rig.names = ("se1",)
    rig.restart()
    answer = rig.change("debugserviceengine", "se2", flags=FLAG)
    assert answer.status == 503
    assert "no service engine of the topology is called se2" in answer.body["error"]


def test_a_virtual_service_is_captured_on_all_its_engines(ftp_rig):
    answer = ftp_rig.change(
        "debugvirtualservice", "ftp-vs", capture=True, debug_ip={"addrs": [{"addr": "10.10.20.100", "type": "V4"}]}
    )
    assert answer.status == 200, answer.body
    assert answer.body["capture_status"]["state"] == "running"
    specs = [tap.spec for driver in ftp_rig.drivers.values() for tap in driver.captures]
    assert [spec.kinds for spec in specs] == [("service",)] * 2
    assert {spec.clients.elements for spec in specs} == {("10.10.20.100",)}
    uuid = ftp_rig.one("debugvirtualservice", "ftp-vs")["uuid"]
    stream = ftp_rig.call("GET", f"/api/debugvirtualservice/{uuid}/capture").stream
    ftp_rig.drivers["se2"].captures[0].feed([packet(1)])
    jobs = ftp_rig.get("/api/jobs")["results"]
    assert [(one["subject"], one["engine"], one["state"]) for one in jobs] == [
        ("virtualservice ftp-vs", "se1, se2", "running")
    ]
    ftp_rig.change("debugvirtualservice", "ftp-vs", capture=False)
    assert [event["engine"] for event in stream if event["event"] == "packet"] == ["se2"]
    parts = list(ftp_rig.call("GET", f"/api/debugvirtualservice/{uuid}/capture/file").stream)
    assert parts[0]["name"].startswith("vs_ftp-vs_")
    assert base64.b64decode(parts[1]["data"]).startswith(b"\x0a\x0d\x0d\x0a")


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({}, ("service",)),
        ({"debug_hm": "DEBUG_VS_HM_INCLUDE"}, ("service", "probe")),
        ({"debug_hm": "DEBUG_VS_HM_ONLY"}, ("probe",)),
    ],
)
def test_health_probes_are_left_out_taken_along_or_alone(ftp_rig, fields, kinds):
    assert ftp_rig.change("debugvirtualservice", "ftp-vs", capture=True, **fields).status == 200
    spec = ftp_rig.drivers["se1"].captures[0].spec
    assert spec.kinds == kinds
    assert spec.servers == ("10.10.40.101", "10.10.40.102")


def test_of_a_virtual_service_only_the_named_engines_take_part(ftp_rig):
    url = ftp_rig.one("serviceengine", "se2")["url"]
    answer = ftp_rig.change("debugvirtualservice", "ftp-vs", capture=True, se_params={"se_refs": [url]})
    assert answer.status == 200, answer.body
    assert [len(driver.captures) for driver in ftp_rig.drivers.values()] == [0, 1]


@pytest.mark.parametrize(
    ("flag", "kinds"),
    [
        ("DEBUG_PCAP_RX", ("rx",)),
        ("DEBUG_PCAP_TX", ("tx",)),
        ("DEBUG_PCAP_DROP", ("drop",)),
        ("DEBUG_PCAP_DOS", ("dos",)),
        ("DEBUG_PCAP_HM", ("probe",)),
        ("DEBUG_PCAP_SE_IPC", ("ipc",)),
        ("DEBUG_PCAP_ROUTING", ("routing",)),
        ("DEBUG_PCAP_ALL", ("nat", "routing", "drop", "dos", "probe", "rx", "tx", "ipc")),
        ("DEBUG_CONFIG", None),
    ],
)
def test_each_flag_asks_for_its_kind(rig, flag, kinds):
    assert rig.change("debugserviceengine", "se1", flags=[{"flag": flag}]).status == 200
    assert [tap.spec.kinds for tap in rig.drivers["se1"].captures] == ([kinds] if kinds else [])


def test_filters_are_what_every_packet_has_to_pass(rig):
    fields = {
        "debug_ip": {"prefixes": [{"ip_addr": {"addr": "10.0.0.0", "type": "V4"}, "mask": 8}]},
        "capture_filters": {"dst_port_start": 20, "dst_port_end": 21, "ip_proto": "IP_TYPE_TCP", "tcp_syn": True},
        "capture_pkt_filter": {
            "capture_tcp_filters": [
                {"tcpflag": {"tcp_rst": True, "tcp_fin": True, "filter_op": "AND", "match_operation": "IS_NOT_IN"}},
                {"src_port_range": {"src_port_start": 5, "match_operation": "IS_NOT_IN"}},
            ]
        },
    }
    answer = rig.change("debugserviceengine", "se1", flags=FLAG, **fields)
    assert answer.status == 200, answer.body
    base = PacketMatch((AddressMatch(("10.0.0.0/8",)),), (), (PortRange(20, 21),), (FlagMatch(2),), tcp=True, ipv4=True)
    one, other = rig.drivers["se1"].captures[0].spec.matches
    assert one == replace(base, flags=(FlagMatch(2), FlagMatch(5, every=True, negate=True)))
    assert other == replace(base, source_ports=(PortRange(5, 5, negate=True),))


def test_ports_that_are_no_range_are_refused(rig):
    answer = rig.change(
        "debugserviceengine", "se1", flags=FLAG, capture_filters={"dst_port_start": 9, "dst_port_end": 3}
    )
    assert answer.status == 400
    assert "9 to 3 is no range of ports" in answer.body["error"]
    assert rig.drivers["se1"].captures == []


def test_other_words_begin_another_capture(rig):
    rig.change("debugserviceengine", "se1", flags=FLAG)
    first = job(rig)
    rig.change("debugserviceengine", "se1", capture_filters={"tcp_syn": True})
    assert (first.state, first.reason) == ("ended", "something else is asked for; a new capture begins")
    assert job(rig).state == "running"


def test_an_interface_that_no_engine_has_is_told(rig):
    rig.change("debugserviceengine", "se1", flags=FLAG)
    uuid = rig.one("debugserviceengine", "se1")["uuid"]
    answer = rig.call("GET", f"/api/debugserviceengine/{uuid}/capture", interface="eth9")
    assert answer.status == 404
    assert "there is no interface 'eth9': se1 has eth1, eth2" in answer.body["error"]


def test_the_file_of_a_capture_before_a_restart_can_be_had(rig):
    rig.change("debugserviceengine", "se1", flags=FLAG)
    uuid = rig.one("debugserviceengine", "se1")["uuid"]
    rig.restart()
    parts = list(rig.call("GET", f"/api/debugserviceengine/{uuid}/capture/file").stream)
    assert parts[0]["name"].startswith("se_nat_se1_")

from __future__ import annotations

from avish.config.store import Who
from avish.config.transaction import Delete
from avish.controller.debug import CaptureSwitch
from dataplane.errors import RefusedError
from dataplane.model import NAT_MARK, Packet

FLAG = [{"flag": "DEBUG_PCAP_NAT"}]


def packet(mark):
    return Packet(1_700_000_000.0, "before", "original", mark, "eth1", 40, b"\x45" + b"\0" * 39)


def job(rig, name="se1"):
    return rig.controller.captures.job(name)


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
    assert [event["event"] for event in events if event["event"] != "idle"] == ["started", "packet", "packet", "ended"]
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
    gone = Delete("serviceengine", rig.one("serviceengine", "se1")["uuid"])
    effect = CaptureSwitch(rig.controller.captures).effect("admin")
    rig.controller.committer.commit(lambda head: [gone], Who("admin"), effect=effect)
    assert job(rig).state == "ended"


def test_an_engine_that_left_the_topology_has_no_capture(rig):
    rig.names = ("se1",)
    rig.restart()
    answer = rig.change("debugserviceengine", "se2", flags=FLAG)
    assert answer.status == 503
    assert "no service engine of the topology is called se2" in answer.body["error"]

"""Roles as the engines tell them, switchover and drill."""

from __future__ import annotations


def exchange(rig):
    """What the two engines do between themselves."""
    for driver in rig.drivers.values():
        driver.exchanged ^= {1}


def post(rig, kind, name, action):
    uuid = rig.one(kind, name)["uuid"]
    return rig.call("POST", f"/api/{kind}/{uuid}/{action}", {})


def test_the_roles_are_those_of_the_engines(ftp_rig):
    exchange(ftp_rig)
    found = ftp_rig.show("virtualservice", "ftp-vs", "runtime")
    engines = found["vip_summary"][0]["service_engine"]
    assert [(one["name"], one["primary"]) for one in engines] == [("se2", True), ("se1", False)]
    assert found["oper_status"]["state"] == "OPER_UP"
    assert ftp_rig.show("serviceengine", "se2", "runtime")["active_tags"] == ["ACTIVE_STANDBY_SE_1"]
    assert "active_tags" not in ftp_rig.show("serviceengine", "se1", "runtime")
    assert ftp_rig.show("serviceengine", "se1", "vshash")["vshashone"] == []


def test_switchover(ftp_rig):
    assert post(ftp_rig, "serviceengine", "se2", "switchover").status == 400
    answer = post(ftp_rig, "serviceengine", "se1", "switchover")
    assert (answer.status, answer.body) == (200, {"from": "se1", "to": "se2", "active_tags": ["ACTIVE_STANDBY_SE_1"]})
    assert ftp_rig.drivers["se1"].exchanged == {1}


def test_a_switchover_somebody_asked_for_is_an_event(ftp_rig):
    assert post(ftp_rig, "serviceengine", "se2", "switchover").status == 400
    assert post(ftp_rig, "serviceengine", "se1", "switchover").status == 200
    told = [one for one in ftp_rig.get("/api/events")["event"] if "switchover" in one["event_description"]]
    assert [(one["obj_name"], one["user"], one["event_description"]) for one in told] == [
        ("se1", "admin", "switchover of serviceengine se1 by admin")
    ]


def test_switchover_of_a_service(ftp_rig):
    assert post(ftp_rig, "virtualservice", "ftp-vs", "switchover").body["from"] == "se1"


def test_an_engine_that_would_take_back_is_not_switched_over(ftp_rig):
    ftp_rig.change("serviceenginegroup", "Default-Group", auto_redistribute_active_standby_load=True)
    answer = post(ftp_rig, "serviceengine", "se1", "switchover")
    assert answer.status == 400
    assert "auto_redistribute_active_standby_load" in answer.body["error"]


def test_without_a_pair_the_remedy_is_named(rig):
    answer = post(rig, "serviceengine", "se1", "switchover")
    assert answer.status == 400
    assert "ha_mode_legacy_active_standby" in answer.body["error"]


def test_drill(ftp_rig):
    found = post(ftp_rig, "serviceengine", "se1", "drill").body
    assert (found["from"], found["to"], found["outage_ms"], found["flows_lost"]) == ("se1", "se2", 1, 0)

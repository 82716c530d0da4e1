"""What the monitor tells of the engines: once each, and to those who listen."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from avish.controller import monitor


@pytest.fixture
def told(ftp_rig):
    """Looks once; gives the texts of the events of a kind since the start."""
    controller = ftp_rig.controller

    def look(kind):
        controller.monitor.states()
        return [event["event_description"] for event in controller.records.events.recent({"event_id": kind})]

    look("VS_SWITCHOVER")
    return look


def notices(rig):
    return [(one["kind"], one["text"]) for one in rig.controller.notices.recent()]


def test_a_switchover_is_told_once_though_nobody_leads_for_a_while(ftp_rig, told):
    ftp_rig.drivers["se1"].exchanged ^= {1}
    assert told("VS_SWITCHOVER") == [], "neither is active yet"
    ftp_rig.drivers["se2"].exchanged ^= {1}
    text = "se2 is active for group Default-Group (ACTIVE_STANDBY_SE_1) in place of se1"
    assert told("VS_SWITCHOVER") == [text]
    assert told("VS_SWITCHOVER") == [text]
    assert notices(ftp_rig) == [("switchover", text)]


def test_what_others_changed_is_told(ftp_rig, told):
    row = {"number": 1, "time": 4_000_000_000.0, "text": "address 10.10.10.50 on eth1 is missing"}
    ftp_rig.drivers["se1"].repair_rows.append(row)
    text = "se1: address 10.10.10.50 on eth1 is missing; put right"
    assert told("SE_DRIFT_REPAIRED") == [text]
    assert told("SE_DRIFT_REPAIRED") == [text]
    assert notices(ftp_rig) == [("drift", text)]


def test_what_others_changed_is_told_though_the_clock_went_back(ftp_rig, told):
    rows = ftp_rig.drivers["se1"].repair_rows
    rows.append({"number": 1, "time": 4_000_000_000.0, "text": "a"})
    assert told("SE_DRIFT_REPAIRED") == ["se1: a; put right"]
    rows.append({"number": 2, "time": 1_000_000_000.0, "text": "b"})
    assert len(told("SE_DRIFT_REPAIRED")) == 2
    rows[:] = [{"number": 1, "time": 1_000_000_005.0, "text": "of an agent that was started again"}]
    assert len(told("SE_DRIFT_REPAIRED")) == 3


def test_a_server_that_goes_and_comes_back_is_told_with_its_pool(ftp_rig, told):
    driver = ftp_rig.drivers["se1"]
    pool = ftp_rig.one("pool", "ftp-pool")
    address, port = pool["servers"][0]["ip"]["addr"], 21
    driver.down_servers.add((address, port))
    (text,) = told("SERVER_DOWN")
    assert text.startswith(f"server {address}:{port} of pool ftp-pool is down: ")
    assert told("SERVER_DOWN") == [text]
    driver.down_servers.clear()
    assert told("SERVER_UP") == [f"server {address}:{port} of pool ftp-pool is up"]


def test_a_capture_is_told_though_it_ended_before_anybody_looked(ftp_rig, told):
    record = {"file": "/c/1.pcapng", "packets": 7, "lost": 0, "subject": "ftp-vs", "engine": "se1", "reason": "stopped"}
    wanted = SimpleNamespace(key=("debugvirtualservice", "uuid-1"), name="ftp-vs")
    job = SimpleNamespace(state="ended", files=SimpleNamespace(stem="1"), wanted=wanted, user="admin")
    job.record = lambda: record
    ftp_rig.controller.captures.begun.append(job)
    for _ in range(2):
        assert told("DEBUG_MODE_ON") == ["capture on ftp-vs began"]
        assert told("DEBUG_MODE_OFF") == ["capture on ftp-vs ended: stopped, 7 packets"]
    (event,) = ftp_rig.controller.records.events.recent({"obj_name": "ftp-vs", "event_id": "DEBUG_MODE_OFF"})
    assert event["event_details"]["packets"] == 7


@pytest.mark.parametrize(("used", "seconds"), [(0.0, 1.0), (0.01, 1.0), (0.2, 4.0), (3.0, 10.0)])
def test_much_to_look_at_is_looked_at_less_often_but_not_rarely(used, seconds):
    assert monitor.pause(used) == pytest.approx(seconds)

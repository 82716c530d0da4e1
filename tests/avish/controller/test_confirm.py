"""A commit that is taken back unless it is confirmed in time; notices of it; over deaths of the controller."""

import threading
import time

import pytest

from avish.controller.confirm import CONFIRM
from avish.errors import ApplyError
from dataplane.errors import RefusedError

HANG = 20.0


class Clock:
    def __init__(self):
        self.seconds = 1_700_000_000.0

    def __call__(self):
        self.seconds += 0.001
        return self.seconds


@pytest.fixture
def clock(rig, monkeypatch):
    """The time the controller knows; it goes on by itself only as far as calls do."""
    ticking = Clock()
    monkeypatch.setattr("avish.server.daemon.time.time", ticking)
    rig.restart()
    return ticking


def change(rig, text, user="anna", **query):
    if rig.get("/api/pool", name="p")["count"]:
        return rig.call("PATCH", "/api/pool", {"replace": {"description": text}}, user=user, name="p", **query)
    return rig.call("POST", "/api/pool", {"name": "p", "description": text}, user=user, **query)


def description(rig):
    return rig.one("pool", "p")["description"]


def pending(rig):
    return rig.get("/api/confirm")["pending"]


def texts(rig):
    return [notice["text"] for notice in rig.get("/api/notices", recent="1")]


def test_confirmed(rig, clock):
    change(rig, "old")
    before = rig.head.config.revision
    answer = change(rig, "new", confirm="5")
    assert answer.status == 200
    revision, left, user = answer.headers["X-Avish-Confirm"].split()
    assert (int(revision), user) == (before + 1, "anna")
    assert 298 <= int(left) <= 300
    found = pending(rig)
    assert {key: found[key] for key in ("revision", "back_to", "user", "source")} == {
        "revision": before + 1,
        "back_to": before,
        "user": "anna",
        "source": "test",
    }
    assert found["until"].endswith("+00:00")
    assert 298 < found["seconds_left"] < 300
    assert rig.get("/api/commits")["results"][0]["state"] == "awaiting confirmation"
    assert rig.call("POST", "/api/confirm", user="bob").status == 200
    assert pending(rig) is None
    clock.seconds += 1000
    rig.controller.deadline.look()
    assert description(rig) == "new"
    assert rig.get("/api/commits")["results"][0]["state"] == "confirmed"
    assert "X-Avish-Confirm" not in rig.call("GET", "/api/pool").headers
    assert rig.call("POST", "/api/confirm").status == 404
    assert rig.call("DELETE", "/api/confirm").status == 404


def test_taken_back_when_the_time_is_over(rig, clock):
    change(rig, "old")
    before = rig.head.config.revision
    change(rig, "new", confirm="5")
    clock.seconds += 299
    rig.controller.deadline.look()
    assert description(rig) == "new"
    clock.seconds += 1
    rig.controller.deadline.look()
    assert description(rig) == "old"
    assert pending(rig) is None
    last, waited = rig.get("/api/commits", page_size="2")["results"]
    assert (last["id"], last["user"], waited["state"]) == (before + 2, "system", "rolled back")
    assert last["comment"] == f"commit {before + 1} of anna was not confirmed in time: back to commit {before}"
    assert "was not confirmed in time" in texts(rig)[-1]
    assert change(rig, "next", user="bob").status == 200


def test_taken_back_by_hand(rig, clock):
    change(rig, "old")
    change(rig, "new", confirm="5")
    answer = rig.call("DELETE", "/api/confirm", user="bob")
    assert (answer.status, description(rig)) == (200, "old")
    assert rig.get("/api/commits")["results"][0]["user"] == "bob"
    assert "taken back by bob" in rig.get("/api/commits")["results"][0]["comment"]


def test_others_wait_until_it_is_confirmed(rig, clock):
    change(rig, "new", confirm="5")
    before = rig.head
    for answer in (
        change(rig, "bob's", user="bob"),
        change(rig, "bob's", user="bob", confirm="5"),
        change(rig, "anna's"),
        rig.call("POST", "/api/rollback", {"back": 1}, user="anna"),
        rig.call("POST", "/api/transaction", {"requests": []}, user="bob"),
    ):
        assert answer.status == 409
        assert "of anna (test) awaits its confirmation until 20" in answer.body["error"]
        assert "DELETE /api/confirm" in answer.body["error"]
    assert rig.head is before
    rehearsed = change(rig, "bob's", user="bob", dryrun="1")
    assert rehearsed.status == 200
    assert "this would be refused now: commit 3 of anna" in rehearsed.headers["X-Avish-Warnings"]
    assert "X-Avish-Warnings" not in change(rig, "anna's", dryrun="1", confirm="5").headers


def test_who_began_may_go_on_and_gets_more_time(rig, clock):
    change(rig, "old")
    before = rig.head.config.revision
    change(rig, "new", confirm="1")
    clock.seconds += 50
    assert change(rig, "newer", confirm="1").status == 200
    assert pending(rig)["back_to"] == before
    assert pending(rig)["seconds_left"] > 59
    clock.seconds += 50
    assert change(rig, "newer", confirm="1").status == 200  # nothing new but the time
    assert pending(rig)["seconds_left"] > 59
    clock.seconds += 60
    rig.controller.deadline.look()
    assert description(rig) == "old"
    assert [one["state"] for one in rig.get("/api/commits", page_size="3")["results"]] == [
        "confirmed",
        "rolled back",
        "rolled back",
    ]


def test_nothing_changed_is_nothing_to_confirm(rig, clock):
    change(rig, "same")
    assert change(rig, "same", confirm="5").status == 200
    assert pending(rig) is None


def test_a_rollback_and_a_transaction_may_be_confirmed_too(rig, clock):
    change(rig, "old")
    change(rig, "new")
    assert rig.call("POST", "/api/rollback", {"back": 1}, confirm="5").status == 200
    assert description(rig) == "old"
    assert rig.call("DELETE", "/api/confirm").status == 200
    assert description(rig) == "new"
    body = {"requests": [{"method": "PATCH", "path": "/api/pool?name=p", "body": {"replace": {"description": "t"}}}]}
    assert rig.call("POST", "/api/transaction", body, confirm="0.5").status == 200
    assert pending(rig)["seconds_left"] < 30


@pytest.mark.parametrize("minutes", ["0", "0.01", "1441", "-1", "nan", "inf", "x"])
def test_no_such_time(rig, minutes):
    answer = change(rig, "new", confirm=minutes)
    assert (answer.status, "(0.02-1440)" in answer.body["error"]) == (400, True)


def test_dead_in_between_and_overdue_when_it_comes_back(rig, clock):
    change(rig, "old")
    change(rig, "new", confirm="5")
    clock.seconds += 1000
    rig.restart()
    assert description(rig) == "new"
    rig.controller.deadline.start()
    assert description(rig) == "old"
    assert "was not confirmed in time" in texts(rig)[-1]
    rig.controller.deadline.stop()
    rig.restart()
    assert "was not confirmed in time" in texts(rig)[-1]  # who comes later is told as well
    clock.seconds += 601
    assert texts(rig) == []


def test_dead_in_between_and_not_yet_due(rig, clock):
    change(rig, "old")
    change(rig, "new", confirm="5")
    waiting = pending(rig)
    rig.restart()
    rig.controller.deadline.look()
    assert description(rig) == "new"
    assert {**pending(rig), "seconds_left": 0} == {**waiting, "seconds_left": 0}
    clock.seconds += 300
    rig.controller.deadline.look()
    assert description(rig) == "old"


def test_it_is_remembered_in_the_same_step_as_the_commit(rig, clock, monkeypatch):
    change(rig, "old")
    monkeypatch.setattr("avish.config.store._keep", lambda db, notes: db.execute("no sql"))
    answer = change(rig, "new", confirm="5")
    assert (answer.status, description(rig)) == (422, "old")
    monkeypatch.undo()
    assert (pending(rig), rig.controller.store.note(CONFIRM)) == (None, None)


def test_engines_found_meanwhile_are_written_down_and_stay(rig, clock):
    change(rig, "old")
    change(rig, "new", confirm="5")
    rig.restart()
    rig.drivers["se2"].own_interfaces = rig.drivers["se2"].own_interfaces[:1]
    rig.restart()
    assert len(rig.one("serviceengine", "se2")["data_vnics"]) == 1
    assert pending(rig) is not None
    clock.seconds += 300
    rig.controller.deadline.look()
    assert description(rig) == "old"
    assert len(rig.one("serviceengine", "se2")["data_vnics"]) == 1


def test_a_kernel_that_refuses_to_go_back_is_asked_again(ftp_rig):
    ftp_rig.change("virtualservice", "ftp-vs", services=[{"port": 2121}])
    ftp_rig.call(
        "PATCH", "/api/virtualservice", {"replace": {"services": [{"port": 2122}]}}, name="ftp-vs", confirm="0.02"
    )
    ftp_rig.drivers["se1"].failures["apply"] = RefusedError("the kernel says no")
    deadline = ftp_rig.controller.deadline
    wait_until(lambda: pending(ftp_rig)["seconds_left"] == 0)
    assert deadline.look() > 0
    assert pending(ftp_rig)
    assert "the kernel says no" in texts(ftp_rig)[-1]
    told = len(texts(ftp_rig))
    deadline.look()
    assert len(texts(ftp_rig)) == told
    ftp_rig.drivers["se1"].failures.clear()
    deadline.look()
    assert ftp_rig.one("virtualservice", "ftp-vs")["services"][0]["port"] == 2121


def test_the_thread_takes_it_back(ftp_rig):
    ftp_rig.controller.deadline.start()
    try:
        answer = ftp_rig.call(
            "PATCH", "/api/virtualservice", {"replace": {"services": [{"port": 2122}]}}, name="ftp-vs", confirm="0.02"
        )
        assert answer.status == 200
        assert ftp_rig.drivers["se1"].listeners()[0]["first"] == 2122
        wait_until(lambda: pending(ftp_rig) is None)
        assert [driver.listeners()[0]["first"] for driver in ftp_rig.drivers.values()] == [21, 21]
    finally:
        ftp_rig.controller.deadline.stop()


def wait_until(done):
    deadline = time.monotonic() + HANG
    while not done():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


# --- notices


def test_everybody_who_listens_is_told(rig, clock):
    one, two = (rig.call("GET", "/api/notices").stream for _ in range(2))
    change(rig, "new", confirm="5")
    rig.controller.deadline.look()
    clock.seconds += 250
    rig.controller.deadline.look()
    rig.controller.deadline.look()
    rig.call("POST", "/api/confirm", user="bob")
    rig.controller.notices.close()
    told = [list(stream) for stream in (one, two)]
    assert told[0] == told[1]
    assert [notice["kind"] for notice in told[0]] == ["confirm", "minute", "confirmed", "down"]
    assert set(told[0][0]) == {"time", "text", "kind"}
    assert "confirmed by bob" in told[0][2]["text"]
    assert [one["kind"] for one in rig.get("/api/notices", recent="1")] == ["confirm", "minute", "confirmed"]
    assert list(rig.call("GET", "/api/notices").stream) == []


def test_who_goes_is_forgotten(rig):
    stream = rig.call("GET", "/api/notices").stream
    stream.close()
    change(rig, "new", confirm="5")
    assert list(stream) == []


def test_a_full_disk_leaves_what_waits_as_it_is(rig, clock, monkeypatch):
    change(rig, "old")
    change(rig, "new", confirm="5")

    def full(*_):
        raise ApplyError("database or disk is full")

    monkeypatch.setattr(rig.controller.store, "keep", full)
    assert rig.call("POST", "/api/confirm").status == 422
    assert pending(rig)

from __future__ import annotations

import shutil
import threading

import pytest
from rig import Rig

from avish.config.store import SqliteStore
from avish.controller.engines import Engine
from avish.errors import ApplyError
from avish.server import daemon
from dataplane.errors import RefusedError
from dataplane.wire import FrameError

HANG = 20.0
NO = RefusedError("the kernel says no")


def services(rig, name):
    return rig.controller.engines[name].applied.services


def test_the_founding_configuration_reaches_both_kernels(ftp_rig):
    for name in ("se1", "se2"):
        engine = ftp_rig.controller.engines[name]
        assert engine.applied == ftp_rig.head.state(name)
        assert ftp_rig.drivers[name].listeners()
        assert ftp_rig.drivers[name].drift() == []
    assert ftp_rig.drivers["se1"].forwarding()
    assert [ftp_rig.drivers[name].roles()[0]["role"] for name in ("se1", "se2")] == ["active", "standby"]


def test_what_is_only_stored_touches_no_kernel(ftp_rig):
    before = {name: len(driver.calls) for name, driver in ftp_rig.drivers.items()}
    assert ftp_rig.change("pool", "ftp-pool", description="x").status == 200
    assert before == {name: len(driver.calls) for name, driver in ftp_rig.drivers.items()}


def test_a_check_that_is_refused_changes_nothing(ftp_rig):
    before = ftp_rig.head
    ftp_rig.drivers["se2"].failures["check"] = NO
    answer = ftp_rig.change("pool", "ftp-pool", enabled=False)
    assert answer.status == 422
    assert "se2" in answer.body["error"]
    assert "the kernel says no" in answer.body["error"]
    assert ftp_rig.head is before
    assert all(driver.calls[-1] == "check" for driver in ftp_rig.drivers.values())


def test_an_apply_that_one_refuses_is_undone_on_the_other(ftp_rig):
    before, listeners = ftp_rig.head, ftp_rig.drivers["se1"].listeners()
    ftp_rig.drivers["se2"].failures["apply"] = NO
    answer = ftp_rig.change("virtualservice", "ftp-vs", services=[{"port": 2121}])
    assert answer.status == 422
    assert "the old state is back" in answer.body["error"]
    assert ftp_rig.head is before
    assert ftp_rig.drivers["se1"].listeners() == listeners
    ftp_rig.drivers["se2"].failures.clear()
    assert ftp_rig.change("virtualservice", "ftp-vs", services=[{"port": 2121}]).status == 200
    assert ftp_rig.drivers["se1"].listeners()[0]["first"] == 2121
    ftp_rig.restart()
    assert ftp_rig.one("virtualservice", "ftp-vs")["services"][0]["port"] == 2121


def test_an_engine_that_does_not_answer_is_brought_up_later(ftp_rig):
    ftp_rig.drivers["se2"].reachable = False
    answer = ftp_rig.change("virtualservice", "ftp-vs", services=[{"port": 2121}])
    assert answer.status == 200
    assert "service engine se2: does not answer" in answer.headers["X-Avish-Warnings"]
    assert "X-Avish-Warnings" not in ftp_rig.change("pool", "ftp-pool", description="x").headers
    engine = ftp_rig.controller.engines["se2"]
    assert (engine.status, engine.reason) == ("out_of_sync", "no agent answers")
    assert not engine.synced.is_set()
    assert ftp_rig.change("virtualservice", "ftp-vs", services=[{"port": 2122}]).status == 200
    ftp_rig.drivers["se2"].reachable = True
    ftp_rig.bring_up()
    assert ftp_rig.drivers["se2"].listeners()[0]["first"] == 2122
    assert engine.applied == ftp_rig.head.state("se2")


def test_an_agent_that_was_started_again_is_noticed_by_the_commit(ftp_rig):
    ftp_rig.drivers["se1"].restart()
    assert ftp_rig.change("virtualservice", "ftp-vs", services=[{"port": 2121}]).status == 200
    assert ftp_rig.controller.engines["se1"].reason == "its agent was started again"
    ftp_rig.bring_up()
    assert ftp_rig.drivers["se1"].listeners()[0]["first"] == 2121


def test_a_failing_journal_touches_no_kernel(ftp_rig, monkeypatch):
    before = ftp_rig.head

    def full(*args):
        raise ApplyError("the disk is full")

    monkeypatch.setattr(ftp_rig.controller.store, "journal", full)
    calls = len(ftp_rig.drivers["se1"].calls)
    answer = ftp_rig.change("pool", "ftp-pool", enabled=False)
    assert (answer.status, answer.body["error"]) == (422, "the disk is full")
    assert ftp_rig.head is before
    assert ftp_rig.drivers["se1"].calls[calls:] == ["check"]


@pytest.mark.parametrize("also", [(), ("drop",)])
def test_a_head_that_cannot_move_puts_the_engines_back(ftp_rig, monkeypatch, also):
    before = ftp_rig.head

    def full(*args):
        raise ApplyError("the disk is full")

    for step in ("commit", *also):
        monkeypatch.setattr(ftp_rig.controller.store, step, full)
    assert ftp_rig.change("virtualservice", "ftp-vs", services=[{"port": 2121}]).status == 422
    assert ftp_rig.head is before
    assert all(engine.applied is None for engine in ftp_rig.controller.engines.values())
    ftp_rig.bring_up()
    assert ftp_rig.drivers["se1"].listeners()[0]["first"] == 21
    assert ftp_rig.get("/api/avish/check")["consistent"] is True
    monkeypatch.undo()
    saves_again(ftp_rig)


def test_a_refusal_whose_journal_cannot_be_dropped_keeps_its_words(ftp_rig, monkeypatch):
    def full(*args):
        raise ApplyError("the disk is full")

    monkeypatch.setattr(ftp_rig.controller.store, "drop", full)
    ftp_rig.drivers["se2"].failures["apply"] = NO
    answer = ftp_rig.change("virtualservice", "ftp-vs", services=[{"port": 2121}])
    assert answer.status == 422
    assert "the kernel says no" in answer.body["error"]
    ftp_rig.drivers["se2"].failures.clear()
    saves_again(ftp_rig)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), FrameError("a value cannot be read")])
@pytest.mark.parametrize("step", ["check", "apply"])
def test_one_engine_fails_in_a_way_nobody_foresaw(ftp_rig, error, step):
    before = ftp_rig.head
    ftp_rig.drivers["se2"].failures[step] = error
    answer = ftp_rig.change("virtualservice", "ftp-vs", services=[{"port": 2121}])
    assert answer.status == 422
    assert "service engine se2 refuses this: internal error" in answer.body["error"]
    assert ftp_rig.head is before
    assert ftp_rig.drivers["se1"].listeners()[0]["first"] == 21
    assert [engine.status for engine in ftp_rig.controller.engines.values()] == ["connected", "out_of_sync"]
    ftp_rig.drivers["se2"].failures.clear()
    ftp_rig.bring_up()
    saves_again(ftp_rig)


def saves_again(rig):
    """A second save reaches both kernels and the disk."""
    assert rig.change("virtualservice", "ftp-vs", services=[{"port": 2122}]).status == 200
    assert [driver.listeners()[0]["first"] for driver in rig.drivers.values()] == [2122, 2122]
    ids = rig.head.ids
    rig.restart()
    assert rig.head.ids == ids
    assert rig.one("virtualservice", "ftp-vs")["services"][0]["port"] == 2122
    assert rig.get("/api/avish/check")["consistent"] is True


@pytest.mark.parametrize("reached", [(), ("se1",), ("se1", "se2")])
def test_killed_between_journal_and_head(ftp_rig, monkeypatch, tmp_path, reached):
    """A second controller gets the disk as it was at that moment, and kernels of which some hold the new state."""
    before, copy, real = ftp_rig.head, tmp_path / "killed", SqliteStore.commit

    def killed(store, revision, notes):
        shutil.copytree(ftp_rig.home.path, copy, ignore=shutil.ignore_patterns("killed"))
        real(store, revision, notes)

    monkeypatch.setattr(SqliteStore, "commit", killed)
    assert ftp_rig.change("virtualservice", "ftp-vs", services=[{"port": 2121}]).status == 200
    monkeypatch.undo()
    for name in {"se1", "se2"} - {*reached}:
        ftp_rig.drivers[name].sync(before.state(name), before.config.revision)
    after = Rig(copy, drivers=ftp_rig.drivers)
    assert after.one("virtualservice", "ftp-vs")["services"][0]["port"] == 21
    assert [driver.listeners()[0]["first"] for driver in after.drivers.values()] == [21, 21]
    saves_again(after)
    after.close()


def test_a_commit_does_not_wait_for_an_engine_that_is_brought_up(ftp_rig, monkeypatch):
    engine, driver = ftp_rig.controller.engines["se2"], ftp_rig.drivers["se2"]
    entered, gate, real, synced = threading.Event(), threading.Event(), driver.sync, []

    def slow(state, revision):
        synced.append(revision)
        entered.set()
        assert gate.wait(HANG)
        return real(state, revision)

    monkeypatch.setattr(driver, "sync", slow)
    engine.lost("for a test")
    worker = threading.Thread(target=ftp_rig.controller.committer.bring_up, args=(engine,))
    worker.start()
    assert entered.wait(HANG)
    try:
        save = threading.Thread(
            target=ftp_rig.change, args=("virtualservice", "ftp-vs"), kwargs={"services": [{"port": 2121}]}
        )
        save.start()
        save.join(HANG)
        assert not save.is_alive()
        assert ftp_rig.one("virtualservice", "ftp-vs")["services"][0]["port"] == 2121
        assert engine.applied is None
    finally:
        gate.set()
        worker.join(HANG)
    assert synced == [ftp_rig.head.config.revision - 1, ftp_rig.head.config.revision]
    assert engine.applied == ftp_rig.head.state("se2")
    assert driver.listeners()[0]["first"] == 2121
    assert ftp_rig.change("virtualservice", "ftp-vs", services=[{"port": 2122}]).status == 200
    assert engine.status == "connected"


def test_an_engine_may_be_lost_while_a_commit_looks_at_it(ftp_rig):
    """The second look, within one commit, finds it lost."""
    engine, body = ftp_rig.controller.engines["se2"], ftp_rig.one("virtualservice", "ftp-vs")
    looks = [engine.applied]

    class Lost(Engine):
        @property
        def applied(self):
            return looks.pop() if looks else None

        @applied.setter
        def applied(self, state):
            assert state is None

    engine.__class__ = Lost
    answer = ftp_rig.call("PUT", f"/api/virtualservice/{body['uuid']}", {**body, "services": [{"port": 2121}]})
    assert answer.status == 200
    assert looks == []
    assert ftp_rig.drivers["se1"].listeners()[0]["first"] == 2121


def test_an_agent_that_somebody_else_changed_is_noticed(ftp_rig):
    ftp_rig.drivers["se2"].revision = 99
    check = ftp_rig.get("/api/avish/check")
    assert check["consistent"] is False
    revision = ftp_rig.controller.engines["se2"].revision
    assert check["engines"]["se2"] == [f"out of sync: its agent holds revision 99, not {revision}"]


def test_the_watch_waits_for_a_commit_under_way(ftp_rig, monkeypatch):
    """Between apply and the move of the head the agent is one ahead of what we think, and that is no fault."""
    committer, engine = ftp_rig.controller.committer, ftp_rig.controller.engines["se1"]
    real, started, found = SqliteStore.commit, threading.Event(), []

    def watch():
        held = engine.keeper.revision()
        started.set()
        monkeypatch.setattr(
            engine.keeper, "revision", lambda: answers.pop(0) if answers else ftp_rig.drivers["se1"].revision
        )
        answers = [held]
        try:
            committer.confirm(engine)
        except Exception as error:
            found.append(error)

    watcher = threading.Thread(target=watch)

    def commit(store, revision, notes):
        watcher.start()
        assert started.wait(HANG)
        real(store, revision, notes)

    monkeypatch.setattr(SqliteStore, "commit", commit)
    assert ftp_rig.change("virtualservice", "ftp-vs", services=[{"port": 2121}]).status == 200
    watcher.join(HANG)
    assert found == []


def test_what_an_operator_saves_while_an_engine_is_found_stays(ftp_rig, monkeypatch):
    ftp_rig.post("serviceenginegroup", name="other")
    committer = ftp_rig.controller.committer
    meanwhile(monkeypatch, committer, lambda: ftp_rig.change("serviceengine", "se2", se_group_ref="other"))
    driver = ftp_rig.drivers["se2"]
    daemon.register(committer, [daemon.Member.observed("se2", "Default-Group", driver)])
    assert ftp_rig.one("serviceengine", "se2")["se_group_ref"].endswith("#other")


def test_of_two_posts_with_one_slug_the_second_is_refused(rig, monkeypatch):
    def other():
        assert rig.call("POST", "/api/pool", {"name": "theirs"}, headers={"slug": "pool-mine"}).status == 201

    meanwhile(monkeypatch, rig.controller.committer, other)
    assert rig.call("POST", "/api/pool", {"name": "ours"}, headers={"slug": "pool-mine"}).status == 409
    assert rig.get("/api/pool/pool-mine")["name"] == "theirs"


def test_two_patches_at_once_both_count(ftp_rig, monkeypatch):
    def other():
        assert ftp_rig.call("PATCH", "/api/pool", {"replace": {"description": "x"}}, name="ftp-pool").status == 200

    meanwhile(monkeypatch, ftp_rig.controller.committer, other)
    answer = ftp_rig.call("PATCH", "/api/pool", {"replace": {"enabled": False}}, name="ftp-pool")
    assert answer.status == 200, answer.body
    assert (answer.body["description"], answer.body["enabled"]) == ("x", False)


def meanwhile(monkeypatch, committer, act):
    """The next commit finds that ``act`` has been just before it."""
    real = committer.commit

    def late(*args, **options):
        monkeypatch.undo()
        act()
        return real(*args, **options)

    monkeypatch.setattr(committer, "commit", late)


def test_a_restart_finds_everything_and_changes_nothing(ftp_rig):
    revision, ids = ftp_rig.head.config.revision, ftp_rig.head.ids
    ftp_rig.restart()
    assert ftp_rig.head.config.revision == revision
    assert ftp_rig.head.ids == ids
    assert ftp_rig.get("/api/avish/check")["consistent"] is True


@pytest.mark.parametrize("how", ["rehearsed", "refused"])
def test_what_did_not_happen_leaves_no_trace_in_the_next_commit(rig, how):
    rig.post("pool", name="p", servers=[{"ip": "10.10.40.101"}])
    rig.post("vsvip", name="v", vip=[{"vip_id": "1", "ip_address": "10.10.10.60"}])
    service = {
        "name": "vs",
        "services": [{"port": 80}],
        "pool_ref": "p",
        "vsvip_ref": "v",
        "application_profile_ref": "System-L4-Application",
    }
    if how == "refused":
        rig.drivers["se1"].failures["check"] = NO
        assert rig.call("POST", "/api/virtualservice", service).status == 422
        rig.drivers["se1"].failures.clear()
    else:
        assert rig.call("POST", "/api/virtualservice", service, dryrun="1").status == 200
    rig.post("pool", name="q")
    assert rig.drivers["se1"].kernel.services == {}
    assert rig.drivers["se1"].kernel.addresses == {}


def test_numbers_are_given_at_commit_only_and_kept(ftp_rig):
    vs = ftp_rig.one("virtualservice", "ftp-vs")["uuid"]
    assert ftp_rig.head.ids.get("service", vs) == 1
    assert [ftp_rig.head.ids.get("engine", ftp_rig.one("serviceengine", name)["uuid"]) for name in ("se1", "se2")] == [
        1,
        2,
    ]
    answer = ftp_rig.call(
        "POST",
        "/api/virtualservice",
        {
            "name": "b",
            "services": [{"port": 99}],
            "pool_ref": "ftp-pool",
            "vsvip_ref": "ftp-vip",
            "application_profile_ref": "L4-preserve-client-ip",
        },
        dryrun="1",
    )
    assert answer.status == 200, answer.body
    assert ftp_rig.head.ids.get("service", vs) == 1
    assert len(ftp_rig.head.ids.numbers["service"]) == 1


def test_the_operators_group_of_an_engine_stays(rig):
    rig.post("serviceenginegroup", name="other")
    assert rig.change("serviceengine", "se2", se_group_ref="other").status == 200
    rig.restart()
    assert rig.one("serviceengine", "se2")["se_group_ref"].endswith("#other")

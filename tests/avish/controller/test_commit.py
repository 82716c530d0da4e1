from __future__ import annotations

import pytest

from avish.controller import commit
from avish.errors import ApplyError
from dataplane.errors import RefusedError

NO = RefusedError("the kernel says no")


def services(rig, name):
    return rig.controller.engines[name].applied.services


def test_the_founding_configuration_reaches_both_kernels(ftp):
    for name in ("se1", "se2"):
        engine = ftp.controller.engines[name]
        assert engine.applied == ftp.head.state(name)
        assert ftp.drivers[name].listeners()
        assert ftp.drivers[name].drift() == []
    assert ftp.drivers["se1"].forwarding()
    assert not ftp.drivers["se2"].forwarding()


def test_what_is_only_stored_touches_no_kernel(ftp):
    before = {name: len(driver.calls) for name, driver in ftp.drivers.items()}
    assert ftp.change("pool", "ftp-pool", description="x").status == 200
    assert before == {name: len(driver.calls) for name, driver in ftp.drivers.items()}


def test_a_check_that_is_refused_changes_nothing(ftp):
    before = ftp.head
    ftp.drivers["se2"].failures["check"] = NO
    answer = ftp.change("pool", "ftp-pool", enabled=False)
    assert answer.status == 422
    assert "se2" in answer.body["error"]
    assert "the kernel says no" in answer.body["error"]
    assert ftp.head is before
    assert all(driver.calls[-1] == "check" for driver in ftp.drivers.values())


def test_an_apply_that_one_refuses_is_undone_on_the_other(ftp):
    before, listeners = ftp.head, ftp.drivers["se1"].listeners()
    ftp.drivers["se2"].failures["apply"] = NO
    answer = ftp.change("virtualservice", "ftp-vs", services=[{"port": 2121}])
    assert answer.status == 422
    assert "the old state is back" in answer.body["error"]
    assert ftp.head is before
    assert ftp.drivers["se1"].listeners() == listeners
    ftp.drivers["se2"].failures.clear()
    assert ftp.change("virtualservice", "ftp-vs", services=[{"port": 2121}]).status == 200
    assert ftp.drivers["se1"].listeners()[0]["first"] == 2121
    ftp.restart()
    assert ftp.one("virtualservice", "ftp-vs")["services"][0]["port"] == 2121


def test_an_engine_that_does_not_answer_is_brought_up_later(ftp):
    ftp.drivers["se2"].reachable = False
    answer = ftp.change("virtualservice", "ftp-vs", services=[{"port": 2121}])
    assert answer.status == 200
    assert "service engine se2: does not answer" in answer.headers["X-Avish-Warnings"]
    assert "X-Avish-Warnings" not in ftp.change("pool", "ftp-pool", description="x").headers
    engine = ftp.controller.engines["se2"]
    assert (engine.status, engine.reason) == ("out_of_sync", "no agent answers")
    assert not engine.synced.is_set()
    assert ftp.change("virtualservice", "ftp-vs", services=[{"port": 2122}]).status == 200
    ftp.drivers["se2"].reachable = True
    ftp.bring_up()
    assert ftp.drivers["se2"].listeners()[0]["first"] == 2122
    assert engine.applied == ftp.head.state("se2")


def test_an_agent_that_was_started_again_is_noticed_by_the_commit(ftp):
    ftp.drivers["se1"].restart()
    assert ftp.change("virtualservice", "ftp-vs", services=[{"port": 2121}]).status == 200
    assert ftp.controller.engines["se1"].reason == "its agent was started again"
    ftp.bring_up()
    assert ftp.drivers["se1"].listeners()[0]["first"] == 2121


def test_a_failing_journal_touches_no_kernel(ftp, monkeypatch):
    before = ftp.head

    def full(*args):
        raise ApplyError("the disk is full")

    monkeypatch.setattr(ftp.controller.store, "journal", full)
    calls = len(ftp.drivers["se1"].calls)
    answer = ftp.change("pool", "ftp-pool", enabled=False)
    assert (answer.status, answer.body["error"]) == (422, "the disk is full")
    assert ftp.head is before
    assert ftp.drivers["se1"].calls[calls:] == ["check"]


def test_a_head_that_cannot_move_puts_the_engines_back(ftp, monkeypatch):
    before = ftp.head

    def full(*args):
        raise ApplyError("the disk is full")

    monkeypatch.setattr(ftp.controller.store, "commit", full)
    assert ftp.change("virtualservice", "ftp-vs", services=[{"port": 2121}]).status == 422
    assert ftp.head is before
    assert all(engine.applied is None for engine in ftp.controller.engines.values())
    ftp.bring_up()
    assert ftp.drivers["se1"].listeners()[0]["first"] == 21


@pytest.mark.parametrize("step", ["_check", "_apply"])
def test_a_crash_at_a_step_leaves_the_old_state(ftp, monkeypatch, step):
    def crash(*args):
        raise RuntimeError("killed")

    monkeypatch.setattr(commit.Committer, step, crash)
    with pytest.raises(RuntimeError):
        ftp.change("virtualservice", "ftp-vs", services=[{"port": 2121}])
    monkeypatch.undo()
    ftp.restart()
    assert ftp.one("virtualservice", "ftp-vs")["services"][0]["port"] == 21
    assert ftp.drivers["se1"].listeners()[0]["first"] == 21
    assert ftp.change("virtualservice", "ftp-vs", services=[{"port": 2121}]).status == 200


def test_a_restart_finds_everything_and_changes_nothing(ftp):
    revision, ids = ftp.head.config.revision, ftp.head.ids
    ftp.restart()
    assert ftp.head.config.revision == revision
    assert ftp.head.ids == ids
    assert ftp.get("/api/avish/check")["consistent"] is True


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


def test_numbers_are_given_at_commit_only_and_kept(ftp):
    vs = ftp.one("virtualservice", "ftp-vs")["uuid"]
    assert ftp.head.ids.get("service", vs) == 1
    assert [ftp.head.ids.get("engine", ftp.one("serviceengine", name)["uuid"]) for name in ("se1", "se2")] == [1, 2]
    answer = ftp.call(
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
    assert ftp.head.ids.get("service", vs) == 1
    assert len(ftp.head.ids.numbers["service"]) == 1


def test_the_operators_group_of_an_engine_stays(rig):
    rig.post("serviceenginegroup", name="other")
    assert rig.change("serviceengine", "se2", se_group_ref="other").status == 200
    rig.restart()
    assert rig.one("serviceengine", "se2")["se_group_ref"].endswith("#other")

from __future__ import annotations

import threading
import time

import pytest

from avish.controller.engines import Engine, Worker
from dataplane.errors import UnreachableError
from dataplane.model import SeState

HANG = 20.0


class Agent:
    """Driver and keeper of an agent that can be killed."""

    def __init__(self):
        self.alive = False
        self.startable = True
        self.started = 0
        self.held = 7
        self.asked = threading.Event()

    def ensure(self):
        if self.alive:
            return False
        if not self.startable:
            self.asked.set()
            raise UnreachableError("it ended at once: no such namespace")
        self.alive = True
        self.started += 1
        return True

    def revision(self):
        self.asked.set()
        if not self.alive:
            raise UnreachableError("no answer")
        return self.held


class Syncer:
    def __init__(self, agent):
        self.agent = agent
        self.synced = 0

    def confirm(self, engine):
        engine.confirm()

    def bring_up(self, engine):
        self.synced += 1
        self.agent.held = 7
        engine.in_step(SeState(), 7)
        return ["everything"]


@pytest.fixture
def parts():
    agent = Agent()
    syncer = Syncer(agent)
    engine = Engine("se1", agent, agent, time.time)
    worker = Worker(engine, syncer, lambda engine: None)
    worker.start()
    yield engine, agent, syncer
    worker.stop()


def test_an_engine_is_started_and_brought_up(parts):
    engine, agent, syncer = parts
    assert engine.synced.wait(HANG)
    assert (engine.status, engine.revision, agent.started, syncer.synced) == ("connected", 7, 1, 1)


def test_an_agent_that_dies_is_started_again(parts):
    engine, agent, syncer = parts
    assert engine.synced.wait(HANG)
    agent.alive = False
    engine.synced.clear()
    assert engine.synced.wait(HANG)
    assert (agent.started, syncer.synced) == (2, 2)


def test_an_engine_found_out_of_step_is_synced_at_once(parts):
    engine, _, syncer = parts
    assert engine.synced.wait(HANG)
    engine.lost("another revision")
    assert engine.synced.wait(HANG)
    assert syncer.synced == 2


def test_what_cannot_be_started_says_why_and_is_tried_again(parts):
    engine, agent, _ = parts
    assert engine.synced.wait(HANG)
    agent.startable = agent.alive = False
    agent.asked.clear()
    assert agent.asked.wait(HANG)
    while "namespace" not in engine.reason:
        assert agent.asked.wait(HANG)
    assert engine.status == "out_of_sync"
    agent.startable = True
    assert engine.synced.wait(HANG)
    assert engine.reason == ""


@pytest.mark.parametrize("held", [None, 8])
def test_an_agent_that_holds_another_revision_is_synced(parts, held):
    engine, agent, syncer = parts
    assert engine.synced.wait(HANG)
    engine.synced.clear()
    agent.held = held
    assert engine.synced.wait(HANG)
    assert syncer.synced == 2


def test_an_engine_that_was_lost_does_not_move():
    engine = Engine("se1", Agent(), Agent(), time.time)
    first, second, third = SeState(), SeState(), SeState(switches={"routing": True})
    engine.in_step(first, 1)
    engine.lost("frozen")
    engine.moved(first, third, 2)
    assert engine.applied is None
    engine.in_step(second, 1)
    engine.moved(first, third, 2)
    assert (engine.applied, engine.revision) == (second, 1)
    engine.moved(second, third, 2)
    assert (engine.applied, engine.revision) == (third, 2)


def test_an_agent_restarted_by_command(ftp_rig, monkeypatch):
    monkeypatch.setattr("avish.controller.engines.RESTART_SECONDS", 0)
    uuid = ftp_rig.one("serviceengine", "se1")["uuid"]
    assert ftp_rig.call("GET", f"/api/serviceengine/{uuid}/reboot").status == 405
    assert ftp_rig.call("POST", f"/api/serviceengine/{uuid}/vshash").status == 405
    answer = ftp_rig.call("POST", f"/api/serviceengine/{uuid}/reboot")
    assert (answer.status, answer.body) == (200, {"name": "se1", "status": "out_of_sync"})
    assert ftp_rig.controller.engines["se1"].reason == "its agent is restarted by command"
    assert ftp_rig.controller.engines["se2"].status == "connected"
    ftp_rig.bring_up()
    assert ftp_rig.controller.engines["se1"].status == "connected"
    assert ftp_rig.get("/api/avish/check")["consistent"] is True

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
        return 7


class Syncer:
    def __init__(self):
        self.synced = 0

    def bring_up(self, engine):
        self.synced += 1
        engine.in_step(SeState(), 7)
        return ["everything"]


@pytest.fixture
def parts():
    agent, syncer = Agent(), Syncer()
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

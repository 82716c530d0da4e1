"""The driver over a socket whose other end is no proper agent."""

from __future__ import annotations

import socket
import threading

import pytest

from dataplane import remote, wire
from dataplane.errors import UnreachableError
from dataplane.model import SeState
from dataplane.remote import RemoteDriver
from dataplane.taps import CaptureSpec

HANG = 20
UNKNOWN = {"~": "NoSuchClass", "v": []}


class Agent:
    """Answers the first request with ``answers`` and keeps the connection open until ``close``."""

    def __init__(self, path):
        self.answers = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.listener.settimeout(HANG)
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        connection, _ = self.listener.accept()
        with connection:
            wire.receive(connection)
            for answer in self.answers:
                wire.send(connection, answer)
            while wire.receive(connection) is not None:
                pass

    def start(self, *answers):
        self.answers = answers
        self.thread.start()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "agent.sock"


@pytest.fixture
def agent(path):
    made = Agent(path)
    yield made
    made.thread.join(HANG)
    made.listener.close()


@pytest.fixture
def driver(agent, path):
    made = RemoteDriver(path, call_seconds=HANG)
    yield made
    made.close()


def test_a_value_that_cannot_be_read_is_no_answer(agent, driver):
    agent.start({"ok": UNKNOWN})
    with pytest.raises(UnreachableError, match="cannot be understood"):
        driver.interfaces()


def test_a_row_that_cannot_be_read_is_no_answer(agent, driver):
    agent.start({"part": [UNKNOWN]})
    with pytest.raises(UnreachableError, match="cannot be understood"):
        list(driver.flows(0, 0))


def test_a_packet_that_cannot_be_read_ends_the_capture(agent, driver):
    agent.start({"part": "", "lost": 0}, {"part": {"packets": "many"}, "lost": 0})
    tap = driver.capture(CaptureSpec(("nat",)))
    with pytest.raises(UnreachableError, match="cannot be understood"):
        list(tap)


def test_an_agent_that_falls_silent_ends_the_capture(agent, driver, monkeypatch):
    monkeypatch.setattr(remote, "CAPTURE_SECONDS", 0.05)
    agent.start({"part": "", "lost": 0}, {"part": "", "lost": 0})
    packets = iter(driver.capture(CaptureSpec(("nat",))))
    assert next(packets) is None
    with pytest.raises(UnreachableError, match=r"said nothing for 0\.05 s"):
        next(packets)


def test_a_frozen_agent_is_found_out_during_a_long_change(agent, path):
    agent.start()
    with pytest.raises(UnreachableError, match="did not answer"):
        RemoteDriver(path, call_seconds=0.2).sync(SeState(), 1)

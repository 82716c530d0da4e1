"""The driver over a socket whose other end is no proper agent."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

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


BUSY = """
import os, signal, socket, sys
sys.path.insert(0, sys.argv[2])
from dataplane import wire
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("listening", flush=True)
connections = []
for act in sys.argv[3:]:
    connection, _ = listener.accept()
    connections.append(connection)  # an agent keeps them
    wire.receive(connection)
    if act == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if act == "burn":
        sum(range(10**8))  # the interpreter lock is never let go
    wire.send(connection, {"ok": [] if act == "burn" else {"pid": os.getpid()}})
"""
PROJECT = str(Path(remote.__file__).parents[1])


@pytest.fixture
def other(path):
    """Starts an agent, a process of its own, that does with each connection what it is told to."""
    started = []

    def start(*acts):
        argv = [sys.executable, "-c", BUSY, path, PROJECT, *acts]
        started.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
        assert started[0].stdout.readline() == "listening\n"
        return started[0]

    yield start
    for process in started:
        process.kill()
        process.wait(HANG)
        process.stdout.close()


@pytest.mark.parametrize("ask", [RemoteDriver.hello, lambda driver: driver.sync(SeState(), 1)], ids=["hello", "sync"])
def test_an_agent_that_is_stopped_is_found_out(other, path, ask):
    process = other("stop")
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="did not answer"):
        ask(RemoteDriver(path, call_seconds=0.2))
    assert time.monotonic() - began < 2
    assert process.poll() is None


def test_an_agent_that_is_busy_is_waited_for(other, path):
    """It says nothing for many times the time in which one that is well answers."""
    other("burn")
    began = time.monotonic()
    assert RemoteDriver(path, call_seconds=0.1).sync(SeState(), 1) == []
    assert time.monotonic() - began > 0.3


def test_so_is_one_that_is_asked_whether_it_is_well(other, path):
    process = other("burn")
    assert RemoteDriver(path, call_seconds=0.1).hello() == {}
    assert process.wait(HANG) == 0

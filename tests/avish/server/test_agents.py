from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest

from avish.server.agents import AgentProcess, agent_of, end_process
from avish.server.home import EngineSpec, Home
from avish.server.lifecycle import down
from avish.server.sockets import connect
from dataplane import wire
from dataplane.errors import UnreachableError

HANG = 20
DEAF = """
import socket, sys
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen(0)
    print("listens", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.fixture
def agent(home):
    agent = agent_of(home, EngineSpec("se1", "g", ""))
    yield agent
    agent.stop()


@pytest.fixture
def deaf(home):
    """A process that listens in place of the agent of se1, and takes no connection."""
    command = [sys.executable, "-c", DEAF, home.agent_socket("se1")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"listens\n"
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(BlockingIOError):
                while True:
                    stack.enter_context(connect(home.agent_socket("se1"), 1.0))
            yield child
        child.kill()


def test_a_process_that_stays_is_no_success(monkeypatch):
    child = subprocess.Popen(["sleep", "60"])
    try:
        with monkeypatch.context() as patch:
            patch.setattr("signal.pidfd_send_signal", lambda *args: None)
            with pytest.raises(UnreachableError, match=f"process {child.pid} cannot be killed"):
                end_process(child.pid, 0.01)
        end_process(child.pid)
        assert child.wait(HANG) < 0
    finally:
        child.kill()
    end_process(child.pid)


@pytest.mark.root
def test_an_agent_of_another_version_is_replaced(agent, monkeypatch):
    assert agent.ensure() is True
    assert agent.ensure() is False
    first = agent._child.pid
    monkeypatch.setattr(wire, "VERSION", wire.VERSION + 1)
    assert agent.ensure() is True
    assert agent._child.pid != first
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_a_stuck_agent_is_ended_by_who_started_it(home, deaf):
    agent = agent_of(home, EngineSpec("se1", "g", ""))
    for ask in (agent.ensure, agent.stop):
        with pytest.raises(UnreachableError, match="takes no connection"):
            ask()
    agent._child = deaf
    agent.stop()
    assert deaf.wait(HANG) < 0


def test_a_stuck_agent_in_a_namespace_that_stays_is_told(home, deaf):
    home.keep_engines([EngineSpec("se1", "g", "")])
    said = down(None, home)
    assert "its kernel could not be cleaned" in said[0]
    assert "end its agent by hand" in said[1]
    assert deaf.poll() is None


def test_an_agent_that_cannot_start_says_why(tmp_path):
    agent = AgentProcess("se1", "no-such-namespace", tmp_path / "s.sock", tmp_path / "log")
    with pytest.raises(UnreachableError, match=r"ended at once: .*no-such-namespace.*see "):
        agent.ensure()

"""The agent's loop over connections; its driver is asked for nothing here."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from dataplane import agent as module
from dataplane.agent import Agent, listen
from dataplane.remote import RemoteDriver

HANG = 20


class Scarce:
    """A listener for which twice there is no descriptor left."""

    def __init__(self, listener):
        self.listener = listener
        self.failures = 2

    def accept(self):
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.listener.accept()

    def fileno(self):
        return self.listener.fileno()

    def shutdown(self, how):
        self.listener.shutdown(how)


@pytest.fixture
def agent():
    return Agent(
        SimpleNamespace(revision=None),
        "host",
        Path("none"),
        SimpleNamespace(
            health=None,
            failover=SimpleNamespace(roles=None, step_down=None, drill=None, crash=None),
            watch=SimpleNamespace(repairs=None),
            inline=SimpleNamespace(rows=None),
        ),
    )


def test_a_connection_that_cannot_be_taken_does_not_end_the_agent(agent, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "_PAUSE_MS", 10)
    with listen(tmp_path / "agent.sock") as listener:
        thread = threading.Thread(target=agent.serve, args=(Scarce(listener),), daemon=True)
        thread.start()
        driver = RemoteDriver(tmp_path / "agent.sock")
        assert driver.hello()["namespace"] == "host"
        driver.stop()
        thread.join(HANG)
        assert not thread.is_alive()
    assert caplog.text.count("a connection cannot be taken") == 2


def test_an_agent_that_was_stopped_before_it_serves_ends_at_once(agent, tmp_path):
    with listen(tmp_path / "agent.sock") as listener:
        agent.stop(listener)
        agent.stop(listener)
        agent.serve(listener)


def test_a_pause_ends_when_the_agent_is_stopped(agent, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PAUSE_MS", 3_600_000)
    with listen(tmp_path / "agent.sock") as listener:
        scarce = Scarce(listener)
        thread = threading.Thread(target=agent.serve, args=(scarce,), daemon=True)
        thread.start()
        agent.stop(listener)
        thread.join(HANG)
        assert not thread.is_alive()

"""What an agent makes of what those of the other VRFs say."""

from __future__ import annotations

import time
from typing import ClassVar

import pytest

from dataplane import siblings
from dataplane.errors import UnreachableError


class Agent:
    """In place of the driver of an agent: ``says`` by socket name; None: it does not answer."""

    says: ClassVar[dict[str, dict | None]] = {}

    def __init__(self, path, seconds):
        self.name = path.stem

    def roles(self):
        row = self.says[self.name]
        if row is None:
            raise UnreachableError("gone")
        return [{"pair": 1, "role": "active", "since": 0.0, "reason": "", "lacks": "", **row}]


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """The siblings of se1 in VRF blue, of which the others say what ``Agent.says``."""
    monkeypatch.setattr(siblings, "RemoteDriver", Agent)
    for name in ("se1", "se1+blue", "se1+red", "se12", "se12+blue"):
        (tmp_path / f"{name}.sock").touch()
    Agent.says = {"se1": {}, "se1+red": {}}
    return siblings.Siblings(tmp_path / "se1+blue.sock")


def test_an_engine_alone_lacks_nothing(beside, tmp_path):
    alone = siblings.Siblings(tmp_path / "se3.sock")
    alone.look()
    assert (alone.fault(1), alone.waits(1)) == ("", False)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({}, ""),
        ({"role": "standby"}, ""),
        ({"role": "electing", "reason": "switched over"}, ""),
        ({"role": "fault", "reason": "a link is down"}, "VRF red: a link is down"),
        ({"lacks": "10.0.0.1"}, "VRF red: gateway 10.0.0.1 does not answer"),
        ({"pair": 2, "role": "fault"}, ""),
    ],
)
def test_what_another_vrf_lacks(beside, said, text):
    Agent.says["se1+red"] = said
    beside.look()
    assert beside.fault(1) == text


def test_an_agent_may_miss_one_look(beside):
    beside.look()
    Agent.says["se1+red"] = None
    beside.look()
    assert beside.fault(1) == ""
    beside.look()
    assert beside.fault(1) == "VRF red: its agent does not answer"
    Agent.says["se1+red"] = {}
    beside.look()
    assert beside.fault(1) == ""


@pytest.mark.parametrize(
    ("role", "age", "waits"), [("standby", 5.0, True), ("standby", 0.0, False), ("active", 5.0, False)]
)
def test_only_the_main_vrf_is_followed(beside, role, age, waits):
    Agent.says |= {"se1": {"role": role, "since": time.time() - age}, "se1+red": {"role": "standby"}}
    beside.look()
    assert beside.waits(1) == waits

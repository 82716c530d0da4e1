"""Who has guessed too often."""

from __future__ import annotations

import math

import pytest

from avish.config.store import SqliteStore
from avish.controller import lockout
from avish.controller.lockout import SOURCE_FAILURES, SOURCE_FIRST, SOURCE_LAST, Lockout, Terms


class Rig:
    def __init__(self, path):
        self.now, self.path = 1_000.0, path
        self.store = SqliteStore(path)
        self.lockout = Lockout(lambda: self.now, self.store)

    def restart(self):
        self.store.close()
        self.store = SqliteStore(self.path)
        self.lockout = Lockout(lambda: self.now, self.store)


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path / "s.db")
    yield rig
    rig.store.close()


def test_a_user_is_locked_as_the_profile_says(rig):
    terms = Terms(failures=3, lock=60.0)
    assert [rig.lockout.failed("anna", "1.1.1.1", terms) for _ in range(3)] == [False, False, True]
    assert rig.lockout.left("anna", "2.2.2.2") == 60.0
    assert rig.lockout.locked() == ["anna"]
    rig.now += 60
    assert rig.lockout.left("anna", "2.2.2.2") == 0.0


def test_failures_are_forgotten_after_the_window(rig):
    terms = Terms(failures=2, window=10.0)
    rig.lockout.failed("anna", "1.1.1.1", terms)
    rig.now += 11
    assert not rig.lockout.failed("anna", "1.1.1.1", terms)


def test_a_source_that_tries_many_users_waits_longer_each_time(rig):
    def guess():
        for number in range(SOURCE_FAILURES):
            rig.lockout.failed(f"user{number}", "6.6.6.6", Terms())
        return rig.lockout.left("somebody-else", "6.6.6.6")

    assert guess() == SOURCE_FIRST
    assert rig.lockout.left("user1", "7.7.7.7") == 0.0
    rig.now += SOURCE_FIRST
    assert guess() == 2 * SOURCE_FIRST
    for _ in range(5):
        assert guess() <= SOURCE_LAST
    rig.now += 2 * SOURCE_LAST
    assert guess() == SOURCE_FIRST


def test_a_restart_forgets_nothing(rig):
    rig.lockout.failed("anna", "1.1.1.1", Terms(failures=1, lock=math.inf))
    rig.lockout.failed("bert", "1.1.1.1", Terms(failures=2))
    rig.restart()
    assert rig.lockout.left("anna", "") == math.inf
    assert rig.lockout.failed("bert", "1.1.1.1", Terms(failures=2))
    rig.lockout.unlock("anna")
    rig.lockout.succeeded("bert", "9.9.9.9")
    rig.restart()
    assert rig.lockout.locked() == []


def test_invented_names_do_not_fill_memory_or_store(rig, monkeypatch):
    monkeypatch.setattr(lockout, "KEPT", 3)
    for number in range(6):
        rig.now += 1
        rig.lockout.failed(f"{number}{'x' * 5000}", "1.1.1.1", Terms(failures=1))
    kept = rig.store.notes(lockout.NOTE)
    assert sorted(key[:6] for key in kept) == ["source", "user/3", "user/4", "user/5"]
    assert max(map(len, kept)) < 300

"""Scheduled backups, and the logs put aside."""

from __future__ import annotations

import stat
import threading

import pytest

pytest.importorskip("cryptography")
from avish.server.backup import restore
from avish.server.chores import Chores
from avish.server.home import Home
from avish.server.logs import rotate

DAY = 86_400.0


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(rig):
    rig.controller.schedules.clock = clock = Clock()
    return clock


def files(rig):
    return sorted(path.name for path in rig.home.backups.iterdir())


def test_a_fresh_system_backs_itself_up_once_a_day(rig, clock, tmp_path):
    schedules = rig.controller.schedules
    rig.post("pool", name="kept")
    assert schedules.look() <= 60.0
    clock.now += DAY - 1
    schedules.look()
    assert not rig.home.backups.exists()
    clock.now += 1
    schedules.look()
    shown = rig.get("/api/backup")["results"]
    assert [one["file_name"] for one in shown] == files(rig)
    assert shown[0]["scheduler_ref"].endswith("#Default-Scheduler")
    assert shown[0]["timestamp"] == "2023-11-15T22:13:20+00:00"
    path = rig.home.backups / shown[0]["file_name"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(restore(Home(tmp_path / "other"), path)) == 1
    found = rig.get("/api/events", event_id="SCHEDULER_ACTION_SUCCESS")["event"]
    assert found[0]["event_description"] == f"schedule Default-Scheduler wrote the backup {path.name}"


def test_so_many_are_kept_as_the_configuration_says(rig, clock):
    rig.change("backupconfiguration", "Backup-Configuration", maximum_backups_stored=2, backup_file_prefix="../nightly")
    schedules = rig.controller.schedules
    schedules.look()
    (rig.home.backups / "x").parent.mkdir(mode=0o700)
    (rig.home.backups / "somebody-elses.tar").touch()
    for _ in range(4):
        clock.now += DAY
        schedules.look()
    names = [one["file_name"] for one in rig.get("/api/backup")["results"]]
    assert len(names) == 2
    assert files(rig) == sorted([*names, "somebody-elses.tar"])
    assert all(name.startswith("nightly-Backup-Configuration-") for name in names)


def test_what_was_missed_is_made_up_for_once_and_a_restart_repeats_nothing(rig, clock):
    rig.controller.schedules.look()
    clock.now += 5.5 * DAY
    for _ in range(3):
        rig.restart()
        rig.controller.schedules.clock = clock
        rig.controller.schedules.look()
    assert len(files(rig)) == 1


def test_now_and_off(rig, clock):
    how = {"backup_config_ref": "Backup-Configuration"}
    rig.change("scheduler", "Default-Scheduler", enabled=False)
    rig.post("scheduler", name="at-once", run_mode="RUN_MODE_NOW", **how)
    rig.controller.schedules.look()
    clock.now += 3 * DAY
    rig.controller.schedules.look()
    assert len(files(rig)) == 1


def test_a_backup_that_cannot_be_written_is_tried_again(rig, clock):
    schedules = rig.controller.schedules
    schedules.look()
    rig.home.backups.symlink_to("/nowhere/at/all")
    clock.now += DAY
    assert schedules.look() == 60.0
    assert "cannot be" in rig.get("/api/events", event_id="SCHEDULER_ACTION_FAILURE")["event"][0]["event_description"]
    rig.home.backups.unlink()
    clock.now += 59
    schedules.look()
    assert not rig.home.backups.exists()
    clock.now += 1
    schedules.look()
    assert len(files(rig)) == 1


def test_logs_are_put_aside_while_they_are_written(tmp_path):
    log = tmp_path / "avishd.log"
    (tmp_path / "audit.jsonl").write_text("x" * 100)
    (tmp_path / "other").write_text("x" * 100)
    (tmp_path / "link.log").symlink_to(tmp_path / "other")
    with log.open("ab", buffering=0) as writer:
        for number in range(5):
            writer.write(b"%d" % number * 50)
            assert rotate(tmp_path, 50, 3) == ["avishd.log"]
        writer.write(b"on")
    assert rotate(tmp_path, 50, 3) == []
    assert log.read_bytes() == b"on"
    kept = [(tmp_path / f"avishd.log.{number}") for number in (1, 2, 3)]
    assert [path.read_text()[0] for path in kept] == ["4", "3", "2"]
    assert stat.S_IMODE(kept[0].stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {
        "avishd.log", "audit.jsonl", "other", "link.log", *(path.name for path in kept),
    }  # fmt: skip
    assert len((tmp_path / "other").read_text()) == 100


def test_chores_are_done_at_once_when_woken_and_outlive_a_bug():
    done, times = threading.Event(), []

    def chore():
        times.append(len(times))
        if len(times) == 1:
            done.set()
            raise ValueError
        done.set()
        return 3600.0

    chores = Chores([chore])
    chores.start()
    assert done.wait(10)
    done.clear()
    chores.wake()
    assert done.wait(10)
    chores.stop()
    assert len(times) == 2

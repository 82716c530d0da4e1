"""Disks that refuse and writers that race: nothing is half done, nothing is lost."""

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

WRITERS, ROUNDS = 6, 12


def grow(rig, size):
    return rig.call("POST", "/api/pool", {"name": f"p{size}", "description": "x" * size})


def unchanged(rig, before, listeners):
    assert rig.head is before
    assert [driver.listeners() for driver in rig.drivers.values()] == listeners
    assert rig.one("virtualservice", "ftp-vs")["services"][0]["port"] == 21


@pytest.mark.root
def test_a_full_disk(tmp_path):
    """In a process with mounts of its own: whatever becomes of it, nothing stays mounted."""
    program = Path(__file__).with_name("full_disk.py")
    command = ["unshare", "--mount", sys.executable, program, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "all as it was\n"), done.stderr


def test_a_store_that_may_only_be_read(ftp_rig):
    before, listeners = ftp_rig.head, [driver.listeners() for driver in ftp_rig.drivers.values()]
    ftp_rig.controller.store._db.execute("PRAGMA query_only = ON")
    answer = ftp_rig.change("virtualservice", "ftp-vs", services=[{"port": 2121}])
    assert answer.status == 422
    assert "the store cannot be written: attempt to write a readonly database" in answer.body["error"]
    assert ftp_rig.call("POST", "/api/rollback", {"back": 1}).status == 422
    unchanged(ftp_rig, before, listeners)
    ftp_rig.controller.store._db.execute("PRAGMA query_only = OFF")
    assert ftp_rig.change("virtualservice", "ftp-vs", services=[{"port": 2121}]).status == 200


def test_a_commit_that_cannot_move_the_head_is_taken_back(ftp_rig, monkeypatch):
    before, listeners = ftp_rig.head, [driver.listeners() for driver in ftp_rig.drivers.values()]

    def broken(db, notes):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("avish.config.store._keep", broken)
    answer = ftp_rig.change("virtualservice", "ftp-vs", services=[{"port": 2121}])
    assert (answer.status, "disk I/O error" in answer.body["error"]) == (422, True)
    monkeypatch.undo()
    ftp_rig.bring_up()
    unchanged(ftp_rig, before, listeners)


def add_server(rig, address):
    """What a careful client does: read, change, write, and again when somebody was faster."""
    refused = 0
    while True:
        body = rig.one("pool", "shared")
        servers = [*body.get("servers", []), {"ip": address}]
        answer = rig.call("PUT", f"/api/pool/{body['uuid']}", {**body, "servers": servers})
        if answer.status == 200:
            return refused
        assert answer.status == 412, answer.body
        refused += 1


def test_many_writers_lose_no_update(rig):
    rig.post("pool", name="shared")
    begin, failures = threading.Barrier(WRITERS), []

    def write(number):
        try:
            begin.wait()
            for step in range(ROUNDS):
                add_server(rig, f"10.1.{number}.{step + 1}")
        except BaseException as error:
            failures.append(error)
            raise

    before = rig.head.config.revision
    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = {server["ip"]["addr"] for server in rig.one("pool", "shared")["servers"]}
    assert found == {f"10.1.{number}.{step + 1}" for number in range(WRITERS) for step in range(ROUNDS)}
    assert rig.head.config.revision == before + WRITERS * ROUNDS
    rig.restart()
    assert len(rig.one("pool", "shared")["servers"]) == WRITERS * ROUNDS

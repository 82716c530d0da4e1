from __future__ import annotations

import asyncio
import io
import socket
import stat
import tarfile

import pytest

pytest.importorskip("cryptography")
from avish.errors import UnavailableError, ValidationError
from avish.server import notify
from avish.server.backup import backup, restore
from avish.server.home import Home

MONITOR = {
    "name": "hm",
    "type": "HEALTH_MONITOR_HTTP",
    "http_monitor": {"http_response_code": ["HTTP_2XX"]},
    "authentication": {"username": "u", "password": "Canary-1"},
}


def test_a_backup_of_a_running_controller_comes_back(rig, tmp_path):
    rig.post("healthmonitor", **MONITOR)
    rig.post("user", name="anna", password="Anna-horse-1", is_superuser=True)
    file = tmp_path / "b.tar"
    names = backup(rig.home, file)
    assert {"about.json", "avish.db", "log/audit.jsonl", "keys/secrets.key"} <= set(names)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    rig.post("pool", name="later")
    rig.close()
    said = restore(rig.home, file)
    assert "before-restore-" in said[1]
    rig.start()
    assert rig.get("/api/pool")["count"] == 0
    assert rig.head.config.named("healthmonitor", "hm")["authentication"]["password"] == "Canary-1"
    assert rig.controller.accounts.log_in("anna", "Anna-horse-1", "test")["name"] == "anna"
    assert rig.get("/api/avish/check")["store"] == []


def test_into_an_empty_home(rig, tmp_path):
    rig.post("pool", name="p")
    backup(rig.home, tmp_path / "b.tar")
    other = Home(tmp_path / "other")
    assert len(restore(other, tmp_path / "b.tar")) == 1
    assert other.store.exists()


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "keys/../../evil", "captures/x"])
def test_what_is_no_backup_of_ours_changes_nothing(rig, tmp_path, name):
    file = tmp_path / "b.tar"
    backup(rig.home, file)
    rig.close()
    with tarfile.open(file, "a") as tar:
        member = tarfile.TarInfo(name)
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    before = rig.home.store.read_bytes()
    with pytest.raises(ValidationError, match="no backup"):
        restore(rig.home, file)
    assert rig.home.store.read_bytes() == before
    rig.start()


def test_not_while_the_controller_runs(rig, tmp_path):
    backup(rig.home, tmp_path / "b.tar")
    with rig.home.lock(), pytest.raises(UnavailableError, match="another controller"):
        restore(rig.home, tmp_path / "b.tar")


def test_systemd_is_told(tmp_path, monkeypatch):
    path = str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        monkeypatch.setenv("WATCHDOG_USEC", "30000")
        notify.tell("READY=1")
        assert listener.recv(100) == b"READY=1"

        async def run():
            ended = asyncio.Event()
            task = asyncio.create_task(notify.live(ended))
            for _ in range(2):
                assert await asyncio.to_thread(listener.recv, 100) == b"WATCHDOG=1"
            ended.set()
            await task

        asyncio.run(run())

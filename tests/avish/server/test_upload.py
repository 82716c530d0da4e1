"""Backups with a passphrase, and copies of them on another host."""

from __future__ import annotations

import asyncio
import io
import threading

import pytest

pytest.importorskip("asyncssh")
import asyncssh
from test_schedules import DAY, Clock

from avish.errors import ValidationError
from avish.server import sealedfile
from avish.server.backup import backup, restore
from avish.server.home import Home


class Elsewhere:
    """An SSH server that lets one key in, and takes files below a folder."""

    def __init__(self, folder, key, port=0):
        self.folder, self.loop, self.ready = folder, asyncio.new_event_loop(), threading.Event()
        self.key, self.port, self.allowed = key, port, ""
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self.ready.wait(20)

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.server = self.loop.run_until_complete(self._listen())
        self.port = self.server.get_port()
        self.ready.set()
        self.loop.run_forever()
        self.loop.run_until_complete(self._close())
        self.loop.close()

    async def _close(self):
        self.server.close()
        await self.server.wait_closed()

    async def _listen(self):
        outside = self

        class Door(asyncssh.SSHServer):
            def begin_auth(self, username):
                return True

            def public_key_auth_supported(self):
                return True

            def validate_public_key(self, username, key):
                return username == "keeper" and key.export_public_key().decode().split()[1] in outside.allowed

        return await asyncssh.listen(
            "127.0.0.1", self.port, server_factory=Door, server_host_keys=[self.key], allow_scp=True,
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(self.folder)),
        )  # fmt: skip

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(20)


@pytest.fixture
def elsewhere(tmp_path):
    folder = tmp_path / "elsewhere"
    (folder / "backups").mkdir(parents=True)
    server = Elsewhere(folder, asyncssh.generate_private_key("ssh-ed25519"))
    yield server
    server.close()


@pytest.fixture
def clock(rig):
    rig.controller.schedules.clock = clock = Clock()
    return clock


def configured(rig, elsewhere, **more):
    told = {
        "upload_to_remote_host": True, "remote_hostname": f"127.0.0.1:{elsewhere.port}", "remote_directory": "backups",
        "ssh_user_ref": "keeper", **more,
    }  # fmt: skip
    answer = rig.change("backupconfiguration", "Backup-Configuration", **told)
    assert answer.status == 200, answer.body
    assert "backup_key.pub" in str(answer.headers)
    rig.controller.schedules.look()
    elsewhere.allowed = (rig.home.keys / "backup_key.pub").read_text()


def events(rig, name):
    return [one["event_description"] for one in rig.get("/api/events", event_id=f"SCHEDULER_ACTION_{name}")["event"]]


@pytest.mark.parametrize("protocol", ["SCP", "SFTP"])
def test_a_copy_goes_to_another_host_and_comes_back_with_the_passphrase(rig, clock, elsewhere, tmp_path, protocol):
    rig.post("pool", name="canary-pool")
    configured(rig, elsewhere, remote_file_transfer_protocol=protocol, backup_passphrase="Open-1")
    clock.now += DAY
    rig.controller.schedules.look()
    (shown,) = rig.get("/api/backup")["results"]
    assert shown["remote_file_url"] == f"{protocol.lower()}://127.0.0.1:{elsewhere.port}/backups/{shown['file_name']}"
    (copy,) = (elsewhere.folder / "backups").iterdir()
    assert copy.read_bytes() == (rig.home.backups / shown["file_name"]).read_bytes()
    assert b"canary-pool" not in copy.read_bytes()
    other = Home(tmp_path / "other")
    for wrong, said in (("", "takes its passphrase"), ("Open-2", "the passphrase is wrong")):
        with pytest.raises(ValidationError, match=said):
            restore(other, copy, lambda given=wrong: given)
    assert not other.store.exists()
    assert len(restore(other, copy, lambda: "Open-1")) == 1
    assert b"canary-pool" in other.store.read_bytes()
    assert "Open-1" not in str(rig.get("/api/backupconfiguration"))


def test_without_a_file_here(rig, clock, elsewhere):
    configured(rig, elsewhere, save_local=False)
    clock.now += DAY
    rig.controller.schedules.look()
    assert len(list((elsewhere.folder / "backups").iterdir())) == 1
    assert not rig.home.backups.exists()
    (shown,) = rig.get("/api/backup")["results"]
    assert "local_file_url" not in shown


def test_a_copy_that_fails_is_tried_again_and_the_file_here_is_made_once(rig, clock, elsewhere):
    configured(rig, elsewhere)
    key, elsewhere.allowed = elsewhere.allowed, ""
    clock.now += DAY
    for _ in range(3):
        rig.controller.schedules.look()
    assert len(list(rig.home.backups.iterdir())) == 1
    (said,) = events(rig, "FAILURE")
    assert "does not let in keeper" in said
    assert "backup_key.pub" in said
    elsewhere.allowed = key
    clock.now += 60
    rig.controller.schedules.look()
    assert len(list((elsewhere.folder / "backups").iterdir())) == 1
    assert len(rig.get("/api/backup")["results"]) == 1
    assert any("copied the backup to scp://" in text for text in events(rig, "SUCCESS"))


def test_another_host_in_its_place_gets_nothing(rig, clock, elsewhere):
    configured(rig, elsewhere)
    clock.now += DAY
    rig.controller.schedules.look()
    elsewhere.close()
    other = Elsewhere(elsewhere.folder, asyncssh.generate_private_key("ssh-ed25519"), elsewhere.port)
    other.allowed = elsewhere.allowed
    try:
        clock.now += DAY
        rig.controller.schedules.look()
    finally:
        other.close()
        elsewhere.__init__(elsewhere.folder, elsewhere.key)
    assert "is another one than before" in events(rig, "FAILURE")[0]
    assert len(list((elsewhere.folder / "backups").iterdir())) == 1


def test_the_object_store_is_refused_in_words(rig):
    answer = rig.change("backupconfiguration", "Backup-Configuration", upload_to_s3=True)
    assert "no object store is reached from here" in str(answer.headers)


@pytest.mark.parametrize("size", [0, 1, sealedfile.PIECE, sealedfile.PIECE + 1, 3 * sealedfile.PIECE])
def test_what_was_sealed_is_opened(size):
    data, sealed, back = bytes(range(256)) * (size // 256 + 1), io.BytesIO(), io.BytesIO()
    sealedfile.seal(io.BytesIO(data[:size]), sealed, "pass")
    sealed.seek(0)
    sealedfile.unseal(sealed, back, "pass")
    assert back.getvalue() == data[:size]


def test_a_file_cut_short_or_changed_does_not_open():
    sealed = io.BytesIO()
    sealedfile.seal(io.BytesIO(bytes(2 * sealedfile.PIECE + 5)), sealed, "pass")
    whole = sealed.getvalue()
    begin = len(sealedfile.MAGIC) + sealedfile.SALT_BYTES
    piece = sealedfile.LENGTH.size + sealedfile.PIECE + sealedfile.TAG_BYTES
    changed = bytearray(whole)
    changed[begin + piece + 100] ^= 1
    swapped = whole[:begin] + whole[begin + piece : begin + 2 * piece] + whole[begin : begin + piece]
    for damaged in (whole[: begin + 2 * piece], whole[:-1], whole[:begin], bytes(changed), swapped):
        with pytest.raises(ValidationError, match="does not open"):
            sealedfile.unseal(io.BytesIO(damaged), io.BytesIO(), "pass")


def test_by_hand(rig, tmp_path):
    file = tmp_path / "b"
    backup(rig.home, file, "Open-1")
    assert sealedfile.is_sealed(file)
    assert len(restore(Home(tmp_path / "other"), file, lambda: "Open-1")) == 1

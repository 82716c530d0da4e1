"""Carries out what the scheduler objects say: backups, as the backup configurations want them."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from avish.config.config import Body, Config, ref_to
from avish.config.normalise import new_uuid
from avish.config.store import Store, Who
from avish.config.transaction import Delete, Put
from avish.controller.access import SYSTEM
from avish.controller.commit import Committer
from avish.controller.events import Events
from avish.controller.schedule import Memory, next_run
from avish.errors import ApplyError, AvishError
from avish.server.backup import backup
from avish.server.home import Home
from avish.server.upload import own_key, upload

log = logging.getLogger(__name__)
NOTE = "schedule/"
LONGEST_WAIT = 60.0
RETRY_SECONDS, LONGEST_RETRY = 60.0, 3600.0
Made = tuple[str, str, str]
"""A backup: the name of its file, where it is here, and where elsewhere ("": nowhere)."""
BACKUP = "SCHEDULER_ACTION_BACKUP"


@dataclass(frozen=True, slots=True)
class Copy:
    """By which schedule, when it is due, and seconds until the next try if that fails."""

    schedule: str
    due: float
    again: float = RETRY_SECONDS


@dataclass
class Schedules:
    """``look`` does what is due. What it remembers is in the store."""

    home: Home
    committer: Committer
    store: Store
    events: Events
    clock: Callable[[], float]
    _retry: dict[str, float] = field(default_factory=dict)
    _copies: dict[Path, Copy] = field(default_factory=dict)
    """Files that are to be copied to another host."""

    def look(self) -> float:
        """Run what is due; seconds until the next look."""
        now, waits = self.clock(), [LONGEST_WAIT]
        if any(one.get("upload_to_remote_host") for one in self.committer.head.config.all("backupconfiguration")):
            own_key(self.home.keys)  # its owner wants to let it in elsewhere before the first copy
        self._copy_again(now)
        for body in self.committer.head.config.all("scheduler"):
            memory = self._memory(body, now)
            due = next_run(body, memory)
            if due is None:
                continue
            due = max(due, self._retry.get(body["uuid"], due))
            waits.append(max(due - now, 0.0) if due > now else self._run(body, memory, now))
        return min(waits)

    def _memory(self, body: Body, now: float) -> Memory:
        """A schedule that was changed begins anew."""
        kept = self.store.note(NOTE + body["uuid"]) or {}
        if kept.get("modified") == body["_last_modified"]:
            return Memory(kept["since"], kept["last"])
        memory = Memory(now)
        self._keep(body, memory)
        return memory

    def _keep(self, body: Body, memory: Memory) -> None:
        kept = {"modified": body["_last_modified"], "since": memory.since, "last": memory.last}
        self.store.keep({NOTE + body["uuid"]: kept})

    def _run(self, body: Body, memory: Memory, now: float) -> float:
        try:
            self._act(body, now)
        except AvishError as error:
            self._failed(body, error)
            self._retry[body["uuid"]] = now + RETRY_SECONDS
            return RETRY_SECONDS
        self._retry.pop(body["uuid"], None)
        self._keep(body, Memory(memory.since, now))
        return 0.0

    def _failed(self, body: Body, error: AvishError) -> None:
        log.warning("schedule %s: %s; it is tried again", body["name"], error)
        told = ("scheduler", body["uuid"], body["name"])
        self.events.add("SCHEDULER_ACTION_FAILURE", f"schedule {body['name']}: {error}", obj=told, user=SYSTEM)

    def _act(self, body: Body, now: float) -> None:
        config = self.committer.head.config
        wanted = config.target(body.get("backup_config_ref"))
        if body.get("scheduler_action", BACKUP) != BACKUP:
            log.info("schedule %s: scripts are not run here", body["name"])
        elif wanted is None or not (wanted.get("save_local") or wanted.get("upload_to_remote_host")):
            log.warning("schedule %s: its backup configuration keeps no file (save_local)", body["name"])
        elif wanted.get("save_local"):
            self._keep_here(body, wanted, now)
        else:
            with tempfile.TemporaryDirectory(dir=self.home.path / "run") as folder:
                path = Path(folder) / file_name(wanted, now)
                backup(self.home, path, _passphrase(wanted))
                url = upload(path, wanted, self.home.keys)
                self._note(body, wanted, [(path.name, "", url)], now)

    def _keep_here(self, body: Body, wanted: Body, now: float) -> None:
        """A file in the folder of backups, and a copy elsewhere; what fails of the copy is tried again by itself."""
        folder = self.home.backups
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ApplyError(f"{folder} cannot be made: {error.strerror}") from error
        path = folder / file_name(wanted, now)
        backup(self.home, path, _passphrase(wanted))
        gone = set(kept_too_long(folder, wanted))
        try:
            self._note(body, wanted, [(path.name, str(path), "")], now, gone)
        except AvishError:
            path.unlink(missing_ok=True)
            raise
        for old in gone:
            with suppress(FileNotFoundError):
                old.unlink()
        if wanted.get("upload_to_remote_host"):
            self._copies[path] = Copy(body["uuid"], now)
            self._copy_again(now)

    def _copy_again(self, now: float) -> None:
        """Copy the files that are to be elsewhere as well, those that were due a while ago again."""
        config = self.committer.head.config
        for path, copy in list(self._copies.items()):
            body = config.get("scheduler", copy.schedule) or {}
            wanted = config.target(body.get("backup_config_ref")) or {}
            if not path.exists() or not wanted.get("upload_to_remote_host"):
                del self._copies[path]
            elif copy.due <= now:
                self._copy(path, copy, (body, wanted), now)

    def _copy(self, path: Path, copy: Copy, by: tuple[Body, Body], now: float) -> None:
        body, wanted = by
        try:
            url = upload(path, wanted, self.home.keys)
            self._note(body, wanted, [(path.name, str(path), url)], now)
            del self._copies[path]
        except AvishError as error:
            self._failed(body, error)
            self._copies[path] = Copy(body["uuid"], now + copy.again, min(2 * copy.again, LONGEST_RETRY))

    def _note(self, body: Body, wanted: Body, made: list[Made], now: float, gone: Collection[Path] = ()) -> None:
        """Write the backup objects, and tell of them."""
        who = Who(SYSTEM, "system", f"backup made by schedule {body['name']}")
        self.committer.commit(lambda head: _records(head, made, set(gone), (body, wanted), now), who)
        told = ("backupconfiguration", wanted["uuid"], wanted["name"])
        for name, _, url in made:
            text = f"schedule {body['name']} " + (f"copied the backup to {url}" if url else f"wrote the backup {name}")
            self.events.add("SCHEDULER_ACTION_SUCCESS", text, obj=told, user=SYSTEM)


def _passphrase(wanted: Body) -> str:
    return str(wanted.get("backup_passphrase") or "")


def _records(
    config: Config, made: list[Made], gone: set[Path], by: tuple[Body, Body], now: float
) -> list[Put | Delete]:
    """The backup objects: those of new files and copies, and none for files that go or have gone."""
    schedule, wanted = by
    known = {one["file_name"]: one for one in config.all("backup")}
    puts: list[Put | Delete] = []
    for name, local, url in made:
        before = known.get(name)
        body = {
            "name": name,
            "file_name": name,
            **({"local_file_url": local} if local else {}),
            **({"remote_file_url": url} if url else {}),
            "backup_config_ref": ref_to("backupconfiguration", wanted["uuid"]),
            "scheduler_ref": ref_to("scheduler", schedule["uuid"]),
            "timestamp": (before or {}).get("timestamp")
            or datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
            "tenant_ref": wanted["tenant_ref"],
        }
        puts.append(Put("backup", before["uuid"] if before else new_uuid("backup"), body, new=before is None))
    names = {name for name, _, _ in made}
    old = [one for one in config.all("backup") if one.get("local_file_url") and one["file_name"] not in names]
    lost = [one for one in old if Path(one["local_file_url"]) in gone or not Path(one["local_file_url"]).exists()]
    return [*puts, *(Delete("backup", one["uuid"]) for one in lost)]


def file_name(wanted: Body, now: float) -> str:
    """Of a backup made now; what is no letter or digit in a prefix or name becomes a dash."""
    prefix = f"{wanted['backup_file_prefix']}-" if wanted.get("backup_file_prefix") else ""
    words = re.sub(r"[^A-Za-z0-9_]+", "-", f"{prefix}{wanted['name']}").strip("-")[:100]
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{words}-{_mark(wanted)}-{stamp}.tar"


def kept_too_long(folder: Path, wanted: Body) -> list[Path]:
    """The files of a backup configuration beyond those that it keeps, oldest first."""
    files = sorted(folder.glob(f"*-{_mark(wanted)}-*.tar"), key=lambda path: path.name.rpartition("-")[2])
    return files[: -int(wanted.get("maximum_backups_stored", 4))]


def _mark(wanted: Body) -> str:
    """What the files of one backup configuration have in common, whatever its name is."""
    return re.sub(r"[^A-Za-z0-9]", "", str(wanted["uuid"]))[-12:]

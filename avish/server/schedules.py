"""Carries out what the scheduler objects say: backups, as the backup configurations want them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
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

log = logging.getLogger(__name__)
NOTE = "schedule/"
LONGEST_WAIT = 60.0
RETRY_SECONDS = 60.0
BACKUP = "SCHEDULER_ACTION_BACKUP"


@dataclass
class Schedules:
    """``look`` does what is due. What it remembers is in the store."""

    home: Home
    committer: Committer
    store: Store
    events: Events
    clock: Callable[[], float]
    _retry: dict[str, float] = field(default_factory=dict)

    def look(self) -> float:
        """Run what is due; seconds until the next look."""
        now, waits = self.clock(), [LONGEST_WAIT]
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
            log.warning("schedule %s: %s; it is tried again", body["name"], error)
            told = ("scheduler", body["uuid"], body["name"])
            self.events.add("SCHEDULER_ACTION_FAILURE", f"schedule {body['name']}: {error}", obj=told, user=SYSTEM)
            self._retry[body["uuid"]] = now + RETRY_SECONDS
            return RETRY_SECONDS
        self._retry.pop(body["uuid"], None)
        self._keep(body, Memory(memory.since, now))
        return 0.0

    def _act(self, body: Body, now: float) -> None:
        config = self.committer.head.config
        wanted = config.target(body.get("backup_config_ref"))
        if body.get("scheduler_action", BACKUP) != BACKUP:
            log.info("schedule %s: scripts are not run here", body["name"])
        elif wanted is None or not wanted.get("save_local"):
            log.warning("schedule %s: its backup configuration keeps no file (save_local)", body["name"])
        else:
            self._back_up(body, wanted, now)

    def _back_up(self, body: Body, wanted: Body, now: float) -> None:
        folder = self.home.backups
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ApplyError(f"{folder} cannot be made: {error.strerror}") from error
        path = folder / file_name(wanted, now)
        backup(self.home, path)
        try:
            gone = set(kept_too_long(folder, wanted))
            who = Who(SYSTEM, "system", f"backup made by schedule {body['name']}")
            self.committer.commit(lambda head: _records(head, path, gone, body, wanted, now), who)
        except AvishError:
            path.unlink(missing_ok=True)
            raise
        for old in gone:
            with suppress(FileNotFoundError):
                old.unlink()
        told = ("backupconfiguration", wanted["uuid"], wanted["name"])
        self.events.add(
            "SCHEDULER_ACTION_SUCCESS", f"schedule {body['name']} wrote the backup {path.name}", obj=told, user=SYSTEM
        )


def _records(config: Config, path: Path, gone: set[Path], body: Body, wanted: Body, now: float) -> list[Put | Delete]:
    """The backup objects: one more, and none for files that go or have gone."""
    made = {
        "name": path.name,
        "file_name": path.name,
        "local_file_url": str(path),
        "backup_config_ref": ref_to("backupconfiguration", wanted["uuid"]),
        "scheduler_ref": ref_to("scheduler", body["uuid"]),
        "timestamp": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        "tenant_ref": wanted["tenant_ref"],
    }
    old = [one for one in config.all("backup") if one.get("local_file_url")]
    lost = [one for one in old if Path(one["local_file_url"]) in gone or not Path(one["local_file_url"]).exists()]
    return [Put("backup", new_uuid("backup"), made, new=True), *(Delete("backup", one["uuid"]) for one in lost)]


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

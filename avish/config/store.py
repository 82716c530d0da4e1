"""Every revision on disk. The callers know the Protocol only; behind it is one SQLite file with one writer.

A commit is two steps: ``journal`` writes the new rows, ``commit`` moves the head to them and brings both onto the
medium, with one fsync. What lies above the head when the store is opened was never finished, and goes.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from avish.config.config import Body, Change, Config
from avish.config.defaults import release_mark, system_defaults
from avish.config.ids import Ids
from avish.config.sealing import Open, Sealer
from avish.errors import ApplyError, UnavailableError
from avish.schema.load import schema as packaged_schema
from avish.schema.model import Schema

__all__ = ["Ids", "Revision", "SqliteStore", "Store", "Version", "Who"]

FORMAT = "1"
TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS revisions (
    number INTEGER PRIMARY KEY, time REAL NOT NULL, user TEXT NOT NULL, source TEXT NOT NULL, comment TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS versions (
    type TEXT NOT NULL, uuid TEXT NOT NULL, place INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER, body TEXT NOT NULL,
    PRIMARY KEY (uuid, first));
CREATE INDEX IF NOT EXISTS versions_first ON versions (first);
CREATE INDEX IF NOT EXISTS versions_last ON versions (last);
CREATE TABLE IF NOT EXISTS ids (
    kind TEXT NOT NULL, key TEXT NOT NULL, number INTEGER NOT NULL, revision INTEGER NOT NULL, PRIMARY KEY (kind, key));
"""
REVISIONS = """
SELECT number, time, user, source, comment, (SELECT count(*) FROM (
    SELECT uuid FROM versions WHERE first = number UNION SELECT uuid FROM versions WHERE last = number - 1))
FROM revisions WHERE number <= ? ORDER BY number DESC LIMIT ?
"""
CHANGES = """
WITH touched AS (
    SELECT uuid FROM versions WHERE first > ? AND first <= ?
    UNION SELECT uuid FROM versions WHERE last >= ? AND last < ?)
SELECT any.type, any.uuid, there.body FROM touched
JOIN versions AS any ON any.uuid = touched.uuid
LEFT JOIN versions AS there
    ON there.uuid = touched.uuid AND there.first <= ? AND (there.last IS NULL OR there.last >= ?)
GROUP BY touched.uuid ORDER BY any.place
"""
"""A version that ends at N was changed or deleted by N + 1."""
NOTE = "note/"
RELEASE = "release"
"""The note that says for which release's system objects the store was looked through."""
SETTINGS = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL")
HISTORY = """
SELECT v.first, v.last, v.body,
  EXISTS (SELECT 1 FROM versions WHERE uuid = v.uuid AND first = v.last + 1),
  coalesce(made.time, 0.0), coalesce(made.user, '?'), coalesce(made.source, ''), coalesce(made.comment, ''),
  coalesce(ended.time, 0.0), coalesce(ended.user, '?'), coalesce(ended.source, ''), coalesce(ended.comment, '')
FROM versions v LEFT JOIN revisions made ON made.number = v.first LEFT JOIN revisions ended ON ended.number = v.last + 1
WHERE v.uuid = ? ORDER BY v.first
"""
LAST_CHANGE = """
SELECT coalesce(r.user, '?'), coalesce(r.time, 0.0)
FROM (SELECT max(coalesce(last + 1, first)) AS number FROM versions WHERE uuid = ?) v
LEFT JOIN revisions r ON r.number = v.number WHERE v.number IS NOT NULL
"""
LATEST = """
SELECT body FROM versions WHERE uuid = ? AND (? = '' OR json_extract(body, '$._last_modified') = ?)
ORDER BY first DESC LIMIT 1
"""
LATER, AT_ONCE = "PRAGMA synchronous=NORMAL", "PRAGMA synchronous=FULL"
"""When what is written has to be on the medium: with the next that is written at once, or before the call returns."""


@dataclass(frozen=True, slots=True)
class Who:
    """Whose change it is. ``source``: where it came from ("unix", "system" ...)."""

    user: str
    source: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """An object as one revision left it; ``body`` None: deleted. ``time`` in seconds since the epoch."""

    revision: int
    time: float
    user: str
    source: str
    comment: str
    body: Body | None


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit. ``objects``: how many it changed. ``time`` in seconds since the epoch."""

    number: int
    time: float
    user: str
    source: str
    comment: str
    objects: int


NO_NOTES: Mapping[str, Any] = {}


class Store(Protocol):
    """Where revisions are kept. Writes raise ApplyError when the medium refuses; nothing is half written then."""

    def load(self) -> Config:
        """The head."""

    def ids(self) -> Ids:
        """All numbers given out."""

    def journal(self, revision: int, changes: Iterable[Change], ids: Ids, who: Who, now: float) -> None:
        """Write ``revision``, the one after the head; the head stays. ``now`` in seconds since the epoch.

        It outlives this process; a loss of power it outlives once ``commit`` returns. What was journaled before and
        never became the head goes.
        """

    def commit(self, revision: int, notes: Mapping[str, Any] = NO_NOTES) -> None:
        """Make the journaled revision the head and keep ``notes``, both or neither."""

    def note(self, key: str) -> Any:
        """What was kept under ``key`` beside the configuration (any JSON value); None when nothing was."""

    def notes(self, prefix: str) -> dict[str, Any]:
        """What was kept under the keys that begin so, by the rest of each key."""

    def keep(self, notes: Mapping[str, Any]) -> None:
        """Keep values beside the configuration, all or none; None forgets one."""

    def drop(self, revision: int) -> None:
        """Forget the journaled revision."""

    def revision_at(self, number: int) -> Config:
        """The configuration as it was; KeyError when there is no such revision."""

    def revisions(self, newest: int, count: int) -> list[Revision]:
        """At most ``count`` commits from number ``newest`` on downwards."""

    def changes(self, start: int, end: int) -> list[Change]:
        """What leads from one revision to another, later or earlier; revision 0 holds nothing. KeyError for none.

        An object that was changed and changed back may be among them, as it is.
        """

    def body_at(self, uuid: str, revision: int) -> Body | None:
        """An object as it was at a revision; None when it was not."""

    def history(self, uuid: str) -> list[Version]:
        """What became of an object, oldest first."""

    def last_change(self, uuid: str) -> tuple[str, float] | None:
        """(user, time in seconds) of its last change, deletion included; None when it never was."""

    def latest(self, uuid: str, stamp: str = "") -> Body | None:
        """The object as it was last, gone or not; with ``stamp``, as it was when it carried that."""

    def check(self) -> list[str]:
        """What is wrong with the store, in words; empty when it is sound."""

    def close(self) -> None:
        """Let the file go."""


class SqliteStore:
    """Store in one file of mode 0600. Any thread may call; one at a time writes, and reads do not wait for it."""

    def __init__(self, path: Path, schema: Schema | None = None, sealer: Sealer | None = None) -> None:
        """Open, or make with the system defaults as revision 1. UnavailableError when the file cannot be used."""
        self._path = path
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._sealer: Sealer = sealer or Open()
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            for line in SETTINGS:
                self._db.execute(line).fetchall()
            self._db.executescript(TABLES)
            self._reader = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._reader.execute("PRAGMA query_only=ON")
        except (OSError, sqlite3.Error) as error:
            raise UnavailableError(f"{path}: the store cannot be opened: {error}") from error
        self._head = self._recover()
        self._ids = self._journaled = self.ids()
        if self._head == 0:
            self._found(schema or packaged_schema())
        else:
            self._supplement(schema or packaged_schema())

    # --- reading

    def load(self) -> Config:
        """The head."""
        return self.revision_at(self._head)

    def revision_at(self, number: int) -> Config:
        """The configuration as it was; KeyError when there is no such revision."""
        if not 0 < number <= self._head:
            raise KeyError(number)
        rows = self._rows(
            "SELECT type, body FROM versions WHERE first <= ? AND (last IS NULL OR last >= ?) ORDER BY place",
            number,
            number,
        )
        return Config.of(number, ((kind, self._sealer.decode(body)) for kind, body in rows))

    def revisions(self, newest: int, count: int) -> list[Revision]:
        """At most ``count`` commits from number ``newest`` on downwards."""
        rows = self._rows(REVISIONS, min(newest, self._head), count)
        return [Revision(*row) for row in rows]

    def changes(self, start: int, end: int) -> list[Change]:
        """What leads from one revision to another, later or earlier; revision 0 holds nothing."""
        for number in (start, end):
            if not 0 <= number <= self._head:
                raise KeyError(number)
        first, last = min(start, end), max(start, end)
        rows = self._rows(CHANGES, first, last, first, last, end, end)
        return [Change(kind, uuid, None if body is None else self._sealer.decode(body)) for kind, uuid, body in rows]

    def body_at(self, uuid: str, revision: int) -> Body | None:
        """An object as it was at a revision; None when it was not."""
        rows = self._rows(
            "SELECT last, body FROM versions WHERE uuid = ? AND first <= ? ORDER BY first DESC LIMIT 1", uuid, revision
        )
        ended = rows and rows[0][0] is not None and rows[0][0] < revision
        return self._sealer.decode(rows[0][1]) if rows and not ended else None

    def note(self, key: str) -> Any:
        """What was kept under ``key`` beside the configuration; None when nothing was."""
        rows = self._rows("SELECT value FROM meta WHERE key = ?", NOTE + key)
        return json.loads(rows[0][0]) if rows else None

    def notes(self, prefix: str) -> dict[str, Any]:
        """What was kept under the keys that begin so, by the rest of each key."""
        start = NOTE + prefix
        rows = self._rows("SELECT key, value FROM meta WHERE substr(key, 1, ?) = ?", len(start), start)
        return {key.removeprefix(start): json.loads(value) for key, value in rows}

    def ids(self) -> Ids:
        """All numbers given out."""
        numbers: dict[str, dict[str, int]] = {}
        for kind, key, number in self._rows("SELECT kind, key, number FROM ids ORDER BY kind, number"):
            numbers.setdefault(kind, {})[key] = number
        return Ids(numbers)

    def history(self, uuid: str) -> list[Version]:
        """What became of an object, oldest first."""
        result: list[Version] = []
        for first, last, body, followed, *author in self._rows(HISTORY, uuid):
            when, user, source, comment = author[:4]
            result.append(Version(first, when, user, source, comment, self._sealer.decode(body)))
            if last is not None and not followed:
                when, user, source, comment = author[4:]
                result.append(Version(last + 1, when, user, source, comment, None))
        return result

    def last_change(self, uuid: str) -> tuple[str, float] | None:
        """(user, time in seconds) of its last change, deletion included; None when it never was."""
        rows = self._rows(LAST_CHANGE, uuid)
        return (str(rows[0][0]), float(rows[0][1])) if rows else None

    def latest(self, uuid: str, stamp: str = "") -> Body | None:
        """The object as it was last, gone or not; with ``stamp``, as it was when it carried that."""
        rows = self._rows(LATEST, uuid, stamp, stamp)
        return self._sealer.decode(rows[0][0]) if rows else None

    def check(self) -> list[str]:
        """What is wrong with the store, in words; empty when it is sound."""
        found = [str(row[0]) for row in self._rows("PRAGMA integrity_check") if row[0] != "ok"]
        found += [
            f"{uuid} has {number} current versions"
            for uuid, number in self._rows(
                "SELECT uuid, count(*) FROM versions WHERE last IS NULL GROUP BY uuid HAVING count(*) > 1"
            )
        ]
        found += [
            f"number {number} of {kind} was given twice"
            for kind, number in self._rows("SELECT kind, number FROM ids GROUP BY kind, number HAVING count(*) > 1")
        ]
        try:
            config = self.load()
        except ValueError as error:
            return [*found, f"a body is not readable: {error}"]
        bodies = [body for kind in config.types() for body in config.all(kind)]
        return found + [text for body in bodies for text in _dangling(config, body)]

    # --- writing

    def journal(self, revision: int, changes: Iterable[Change], ids: Ids, who: Who, now: float) -> None:
        """Write ``revision``, the one after the head; the head stays."""
        with self._writing(LATER) as db:
            _forget(db, revision)
            row = (revision, now, who.user, who.source, who.comment)
            db.execute("INSERT INTO revisions VALUES (?, ?, ?, ?, ?)", row)
            for change in changes:
                _write(db, revision, change, self._sealer)
            fresh = [(kind, key, number, revision) for kind, key, number in ids.beyond(self._ids)]
            db.executemany("INSERT INTO ids VALUES (?, ?, ?, ?)", fresh)
        self._journaled = ids

    def commit(self, revision: int, notes: Mapping[str, Any] = NO_NOTES) -> None:
        """Make the journaled revision the head and keep ``notes``, both or neither."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('head', ?)", (str(revision),))
            _keep(db, notes)
        self._head, self._ids = revision, self._journaled

    def keep(self, notes: Mapping[str, Any]) -> None:
        """Keep values beside the configuration, all or none; None forgets one."""
        with self._writing() as db:
            _keep(db, notes)

    def seal_again(self) -> int:
        """Write every secret of every revision as it is sealed now; how many rows differ. Nothing of before is left."""
        with self._writing() as db:
            rows = db.execute("SELECT rowid, type, body FROM versions").fetchall()
            new = [(self._sealer.encode(kind, self._sealer.decode(body)), number) for number, kind, body in rows]
            differing = [pair for pair, (_, _, body) in zip(new, rows, strict=True) if pair[0] != body]
            db.executemany("UPDATE versions SET body = ? WHERE rowid = ?", differing)
        if differing:
            with self._lock, self._reading:
                self._db.execute("VACUUM")
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return len(differing)

    def drop(self, revision: int) -> None:
        """Forget the journaled revision."""
        with self._writing() as db:
            _forget(db, revision)

    def close(self) -> None:
        """Let the file go."""
        with self._lock, self._reading:
            self._reader.close()
            self._db.close()

    def _recover(self) -> int:
        """The head; what lies above it goes."""
        rows = dict(self._rows("SELECT key, value FROM meta"))
        if rows.get("format", FORMAT) != FORMAT:
            raise UnavailableError(f"{self._path}: made by another release (format {rows['format']}, here {FORMAT})")
        head = int(rows.get("head", 0))
        if self._rows("SELECT 1 FROM revisions WHERE number > ? LIMIT 1", head):
            self.drop(head + 1)
        return head

    def _found(self, schema: Schema) -> None:
        now = time.time()
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('format', ?)", (FORMAT,))
        self.journal(1, system_defaults(schema, int(now * 1e6)), Ids(), Who("system", "system", "system defaults"), now)
        self.commit(1, {RELEASE: release_mark(schema)})

    def _supplement(self, schema: Schema) -> None:
        """A store of an earlier release gets what has come since, as a revision of its own; once."""
        mark = {RELEASE: release_mark(schema)}
        if self.note(RELEASE) == mark[RELEASE]:
            return
        now, revision = time.time(), self._head + 1
        changes = system_defaults(schema, int(now * 1e6), self.load())
        if changes:
            self.journal(revision, changes, self._ids, Who("system", "system", "what is new in this release"), now)
            self.commit(revision, mark)
        else:
            self.keep(mark)

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._reading:
            try:
                return self._reader.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise UnavailableError(f"{self._path}: the store cannot be read: {error}") from error

    @contextmanager
    def _writing(self, when: str = AT_ONCE) -> Iterator[sqlite3.Connection]:
        """One transaction: whole, or not at all."""
        with self._lock:
            try:
                self._db.execute(when)
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise ApplyError(f"{self._path}: the store cannot be written: {error}") from error
                raise


def _write(db: sqlite3.Connection, revision: int, change: Change, sealer: Sealer) -> None:
    """End the current version and begin the next; an object keeps its place among its siblings."""
    db.execute("UPDATE versions SET last = ? WHERE uuid = ? AND last IS NULL", (revision - 1, change.uuid))
    if change.body is not None:
        body = sealer.encode(change.type, change.body)
        db.execute(
            "INSERT INTO versions SELECT ?, ?, coalesce((SELECT place FROM versions WHERE uuid = ?), "
            "(SELECT coalesce(max(rowid), 0) + 1 FROM versions)), ?, NULL, ?",
            (change.type, change.uuid, change.uuid, revision, body),
        )


def _keep(db: sqlite3.Connection, notes: Mapping[str, Any]) -> None:
    for key, value in notes.items():
        if value is None:
            db.execute("DELETE FROM meta WHERE key = ?", (NOTE + key,))
        else:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (NOTE + key, json.dumps(value)))


def _forget(db: sqlite3.Connection, revision: int) -> None:
    """Undo a journal: the rows it made, and the ends it set."""
    db.execute("DELETE FROM versions WHERE first >= ?", (revision,))
    db.execute("UPDATE versions SET last = NULL WHERE last >= ?", (revision - 1,))
    db.execute("DELETE FROM ids WHERE revision >= ?", (revision,))
    db.execute("DELETE FROM revisions WHERE number >= ?", (revision,))


def _dangling(config: Config, body: Body) -> list[str]:
    name = body.get("name", body["uuid"])
    return [f"{name}: {ref} leads to nothing" for ref in _refs(body) if config.target(ref) is None]


def _refs(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _refs(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _refs(item, name)
    elif name.endswith(("_ref", "_refs")) and str(value).startswith("/api/"):
        yield value

"""What has happened: kept beside the configuration, told to those who follow, and handed to the alerts."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from avish.config.config import title
from avish.config.store import Who
from avish.controller.commit import Outcome
from avish.controller.notices import iso
from avish.controller.subscription import Subscription
from avish.errors import ValidationError

log = logging.getLogger(__name__)
KEPT = 100_000
MOST_OF_A_COMMIT = 50
"""Objects of one commit that are told one by one."""
PAGE = 200
_TABLE = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY, time REAL NOT NULL, event_id TEXT NOT NULL, obj_type TEXT NOT NULL,
    obj_uuid TEXT NOT NULL, obj_name TEXT NOT NULL, user TEXT NOT NULL, text TEXT NOT NULL, details TEXT NOT NULL);
"""
_COLUMNS = "number, time, event_id, obj_type, obj_uuid, obj_name, user, text, details"
_FILTERS = {"event_id": "event_id = ?", "obj_type": "obj_type = ?", "obj_name": "obj_name = ?", "user": "user = ?"}
_OF_AUDIT = {
    "login": ("USER_LOGIN", "logged in"),
    "login refused": ("USER_NOT_AUTHORIZED_BY_ANY_RULE", "was refused"),
    "logout": ("USER_LOGOUT", "logged out"),
    "password changed": ("USER_PASSWORD_CHANGE_REQUEST", "has a new password"),
}
Event = dict[str, Any]
"""Keys: number, report_timestamp (ISO 8601, UTC), event_id, obj_type, obj_uuid, obj_name, user, event_description,
event_details."""
Object = tuple[str, str, str]
"""Type, uuid, name."""
NOTHING: Object = ("", "", "")


class Events:
    """Any thread may add and read. Writing waits for nobody: it is done by a thread of its own, or before a read."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL").fetchall()
        self._db.execute("PRAGMA synchronous=NORMAL").fetchall()
        self._db.executescript(_TABLE)
        path.chmod(0o600)
        self._number = self._db.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()[0]
        self._waiting: list[tuple[Any, ...]] = []
        self._listeners: list[Callable[[Event], None]] = []
        self._lock, self._writing = threading.Condition(), threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Begin to write by itself."""
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and let the file go."""
        with self._lock:
            self._closed = True
            self._lock.notify()
        if self._thread.ident is not None:
            self._thread.join()
        self._write()
        with self._writing:
            self._db.close()

    def add(
        self,
        event_id: str,
        text: str,
        *,
        obj: Object = NOTHING,
        user: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Something has happened."""
        with self._lock:
            if self._closed:
                return
            self._number += 1
            row = (self._number, self._clock(), event_id, *obj, user, text, json.dumps(dict(details or {})))
            self._waiting.append(row)
            self._lock.notify()
            listeners = list(self._listeners)
        event = _event(row)
        for listener in listeners:
            listener(event)

    def committed(self, outcome: Outcome, who: Who) -> None:
        """The configuration has changed."""
        revision = outcome.head.config.revision
        for change in outcome.changes[:MOST_OF_A_COMMIT]:
            old = outcome.old.get(change.type, change.uuid)
            body = change.body or old or {}
            kind, verb = _kind(old is not None, change.body is not None)
            name = str(body.get("name", change.type))
            text = f"{title(change.type, body)} was {verb} by {who.user} (revision {revision})"
            details = {"revision": revision, "source": who.source, "comment": who.comment}
            self.add(kind, text, obj=(change.type, change.uuid, name), user=who.user, details=details)
        more = len(outcome.changes) - MOST_OF_A_COMMIT
        if more > 0:
            text = f"{more} more objects were changed by {who.user} (revision {revision}): show commit {revision}"
            self.add("CONFIG_ACTION", text, user=who.user, details={"revision": revision})

    def audited(self, entry: Mapping[str, Any]) -> None:
        """Somebody came in, was kept out, or changed how he comes in; changes tell themselves."""
        event_id, verb = _OF_AUDIT.get(str(entry["event"]), ("", ""))
        if event_id:
            user = str(entry.get("account") or entry["user"] or "?")
            reason = f": {entry['reason']}" if entry.get("reason") else ""
            details = {"source": entry["source"], "audit": entry["n"]}
            self.add(event_id, f"{user} {verb}{reason}", user=user, details=details)

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Have each event from now on; what it returns ends that. A listener must not block."""
        with self._lock:
            self._listeners.append(listener)

        def forget() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return forget

    def follow(self, query: Mapping[str, str]) -> Iterator[Event]:
        """The events that the query lets through, from now on; {"event": "idle"} each second without one."""
        forget: list[Callable[[], None]] = []
        subscription = Subscription(lambda _: forget[0]())

        def offer(event: Event) -> None:
            if _passes(event, query):
                subscription.offer({"event": "event", **event, "line": line(event)})

        forget.append(self.listen(offer))
        return subscription

    def recent(self, query: Mapping[str, str]) -> list[Event]:
        """The last ones, oldest first. Query: event_id, obj_type, obj_name, user, contains, since (minutes), last."""
        self._write()
        wanted = [(text, query[name]) for name, text in _FILTERS.items() if query.get(name)]
        if query.get("contains"):
            wanted.append(("instr(lower(text), lower(?)) > 0", query["contains"]))
        values: list[Any] = [value for _, value in wanted]
        conditions = [text for text, _ in wanted]
        if query.get("since"):
            conditions.append("time >= ?")
            values.append(self._clock() - 60 * _number(query, "since"))
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        last = int(_number(query, "last")) if query.get("last") else PAGE
        with self._writing:
            rows = self._db.execute(
                f"SELECT {_COLUMNS} FROM events{where} ORDER BY number DESC LIMIT ?",  # noqa: S608  (constants only)
                (*values, last),
            ).fetchall()
        return [_event(row) for row in reversed(rows)]

    def _run(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
            try:
                self._write()
            except sqlite3.Error as error:
                log.warning("events cannot be kept: %s", error)

    def _write(self) -> None:
        with self._writing:
            with self._lock:
                rows, self._waiting = self._waiting, []
            if not rows:
                return
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._db.execute("DELETE FROM events WHERE number <= ?", (rows[-1][0] - KEPT,))
            self._db.execute("COMMIT")


def _kind(existed: bool, exists: bool) -> tuple[str, str]:  # noqa: FBT001
    if not existed:
        return "CONFIG_CREATE", "created"
    return ("CONFIG_UPDATE", "changed") if exists else ("CONFIG_DELETE", "deleted")


def _number(query: Mapping[str, str], name: str) -> float:
    try:
        return float(query[name])
    except ValueError:
        raise ValidationError(f"{name}: {query[name]!r} is not a number") from None


def _event(row: tuple[Any, ...]) -> Event:
    number, when, event_id, kind, uuid, name, user, text, details = row
    return {
        "number": number,
        "report_timestamp": iso(when),
        "event_id": event_id,
        "obj_type": kind,
        "obj_uuid": uuid,
        "obj_name": name,
        "user": user,
        "event_description": text,
        "event_details": json.loads(details),
    }


def _passes(event: Event, query: Mapping[str, str]) -> bool:
    if any(query.get(name) and str(event[name]) != query[name] for name in _FILTERS):
        return False
    return query.get("contains", "").lower() in event["event_description"].lower()


def line(event: Event) -> str:
    """An event as one line."""
    when = datetime.fromisoformat(event["report_timestamp"]).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{when} {event['event_id']:<16} {event['event_description']}"

"""What was done and what was refused, and by whom: a file that only grows, each line sealed to the one before it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from avish.config.store import Store
from avish.controller.notices import iso
from avish.errors import ApplyError

log = logging.getLogger("audit")
"""The same lines, for journald or syslog to take along."""
FIRST = "0" * 64
TAIL = 65_536
LISTED = 1000
Entry = dict[str, Any]
"""{"n", "time", "event", "user", "source", "request", .., "hash"}; ``hash`` covers the line and the hash before it."""


ANCHOR = "audit"
ANCHOR_EVERY = 50
STRANGER_SECONDS = 1.0


class Audit:
    """Appends entries to ``path``; each is on disk when ``write`` returns.

    The store keeps number and hash of one of the last entries: a file cut off before it is noticed.
    """

    def __init__(self, path: Path, clock: Callable[[], float], store: Store) -> None:
        self._path = path
        self._clock = clock
        self._store = store
        self._lock = threading.Lock()
        self.told: list[Callable[[Entry], None]] = []
        """Called with each entry; they must not wait for anything."""
        self._last_stranger, self._left_out = 0.0, 0
        last = last_entry(path)
        self._number = int(last["n"]) if last else 0
        self._hash = str(last["hash"]) if last else FIRST

    def write(self, event: str, user: str, source: str, request: str = "", **more: Any) -> None:
        """One entry. ApplyError when the disk refuses it."""
        told = {"time": iso(self._clock()), "event": event, "user": user, "source": source, "request": request}
        with self._lock:
            entry = {"n": self._number + 1, **told, **more}
            digest = seal(self._hash, entry)
            self._append(json.dumps({**entry, "hash": digest}, ensure_ascii=False) + "\n")
            self._number, self._hash = self._number + 1, digest
        for told_to in self.told:
            told_to(entry)
        if self._number % ANCHOR_EVERY == 0:
            self.anchor()

    def write_some(self, event: str, user: str, source: str, request: str = "", **more: Any) -> None:
        """One entry a second at most, with the number of those left out: what strangers do must not fill the disk."""
        now = self._clock()
        with self._lock:
            early = 0 <= now - self._last_stranger < STRANGER_SECONDS
            left_out, self._left_out = self._left_out, self._left_out + 1 if early else 0
            if not early:
                self._last_stranger = now
        if not early:
            self.write(event, user, source, request, **more, **({"left_out": left_out} if left_out else {}))

    def anchor(self) -> None:
        """Let the store remember how far the file goes."""
        number, digest = self.head
        self._store.keep({ANCHOR: [number, digest]})

    def _append(self, line: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(self._path, flags, 0o600)
            try:
                os.write(handle, line.encode())
                os.fdatasync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise ApplyError(f"the audit {self._path} cannot be written: {error.strerror}") from error

    @property
    def head(self) -> tuple[int, str]:
        """Number and hash of the last entry."""
        with self._lock:
            return self._number, self._hash

    def entries(self, wanted: Mapping[str, str], count: int = LISTED) -> list[Entry]:
        """The last entries with these values, newest first."""
        found = [one for one in _lines(self._path) if all(str(one.get(k, "")) == v for k, v in wanted.items())]
        return found[: -count - 1 : -1]

    def check(self) -> list[str]:
        """Where the chain is broken, in words; empty when it is whole."""
        number, before = 0, FIRST
        anchored = self._store.note(ANCHOR) or [0, FIRST]
        try:
            for entry in _lines(self._path):
                number += 1
                kept = {name: value for name, value in entry.items() if name != "hash"}
                if entry.get("n") != number or entry.get("hash") != seal(before, kept):
                    return [f"audit: entry {number} was changed, or one before it is missing ({self._path})"]
                before = str(entry["hash"])
                if number == anchored[0] and before != anchored[1]:
                    return [f"audit: all entries up to {number} were written anew ({self._path})"]
        except ValueError as error:
            return [f"audit: entry {number + 1} is not readable: {error} ({self._path})"]
        written = max(self.head[0], anchored[0])
        return [] if number == written else [f"audit: ends at entry {number}, {written} were written ({self._path})"]


def seal(before: str, entry: Entry) -> str:
    """The hash of an entry and of everything before it."""
    return hashlib.sha256(f"{before}{json.dumps(entry, sort_keys=True)}".encode()).hexdigest()


def _lines(path: Path) -> Iterator[Entry]:
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
    except FileNotFoundError:
        return


def last_entry(path: Path) -> Entry | None:
    """The last entry of a file, None without one; what a crash left half written is ended by a line feed."""
    try:
        with path.open("r+b") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - TAIL, 0))
            tail = file.read()
            if tail and not tail.endswith(b"\n"):
                torn = tail.rpartition(b"\n")[2]
                file.truncate(file.seek(0, os.SEEK_END) - len(torn))
                tail = tail[: len(tail) - len(torn)]
    except FileNotFoundError:
        return None
    lines = tail.splitlines()
    return json.loads(lines[-1]) if lines else None

"""The logs under the home directory: put aside when they have grown, the last few kept. The audit stays whole."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

log = logging.getLogger(__name__)
LIMIT = 10 * 2**20
"""Bytes from which on a log is put aside."""
KEPT = 5
"""Older ones of each log: name.log.1 is the newest."""
LOOK_SECONDS = 60.0


def rotate(folder: Path, limit: int = LIMIT, kept: int = KEPT) -> list[str]:
    """Put aside what has grown too long; the names. Whoever writes has the file open to append, and goes on in it."""
    done = []
    for path in sorted(folder.glob("*.log")):
        try:
            if not path.is_symlink() and path.is_file() and path.stat().st_size >= limit:
                _put_aside(path, kept)
                done.append(path.name)
        except OSError as error:
            log.warning("%s cannot be put aside: %s", path, error.strerror)
    return done


def _put_aside(path: Path, kept: int) -> None:
    for number in range(kept - 1, 0, -1):
        older = _numbered(path, number)
        if older.exists():
            older.replace(_numbered(path, number + 1))
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with path.open("rb") as source, os.fdopen(_new(beside), "wb") as copy:
            shutil.copyfileobj(source, copy)
        os.truncate(path, 0)
        beside.replace(_numbered(path, 1))
    finally:
        beside.unlink(missing_ok=True)


def _new(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")

"""New files that are there whole or not at all, and never where a link of somebody else's leads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PRIVATE = 0o600
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST = 200


@contextmanager
def new_file(path: Path, mode: int = PRIVATE, *, synced: bool = False) -> Iterator[IO[bytes]]:
    """A file beside ``path`` that takes its place when all is written; when that fails, nothing of it stays.

    ``mode`` as the umask allows; ``synced``: it is on the disk before it counts. Raises OSError.
    """
    beside = path.with_name(f".{path.name[:_LONGEST]}.{os.urandom(8).hex()}")
    handle = os.open(beside, _FLAGS, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if synced:
                os.fsync(handle)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def private_opener(path: str, flags: int) -> int:
    """For ``open("xb")``: a new file that nobody else reads."""
    return os.open(path, flags | os.O_NOFOLLOW, PRIVATE)

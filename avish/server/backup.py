"""``avishd backup`` and ``restore``: store, keys and audit as one tar file."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import avish
from avish.errors import ApplyError, UnavailableError, ValidationError
from avish.newfile import new_file
from avish.server.home import Home
from avish.server.sealedfile import is_sealed, opened, seal

ABOUT = "about.json"
STORE, KEYS, AUDIT = "avish.db", "keys", "log/audit.jsonl"
LIMIT = 8 * 2**30
"""Bytes of a member of a backup."""


def backup(home: Home, target: Path, passphrase: str = "") -> list[str]:
    """Write the backup, also while the controller runs; what is in it. ApplyError when it cannot be written.

    With a passphrase it is sealed: nothing of it can be read without.
    """
    if not home.store.exists():
        raise UnavailableError(f"{home.path} has no store yet: there is nothing to back up")
    try:
        with new_file(target, synced=True) as file:
            names = _sealed(home, file, passphrase) if passphrase else _write(home, file)
    except (OSError, sqlite3.Error) as error:
        raise ApplyError(f"{target} cannot be written: {error}") from error
    return names


def _sealed(home: Home, file: IO[bytes], passphrase: str) -> list[str]:
    with tempfile.TemporaryFile(dir=home.path / "run") as plain:
        names = _write(home, plain)
        plain.seek(0)
        seal(plain, file, passphrase)
    return names


def _write(home: Home, file: IO[bytes]) -> list[str]:
    with tempfile.TemporaryDirectory(dir=home.path / "run") as folder, tarfile.open(fileobj=file, mode="w") as tar:
        copy = Path(folder) / STORE
        _copied(home.store, copy)
        about = json.dumps({"version": avish.__version__, "time": time.time(), "home": str(home.path)}).encode()
        head = tarfile.TarInfo(ABOUT)
        head.size, head.mode = len(about), 0o600
        tar.addfile(head, io.BytesIO(about))
        tar.add(copy, STORE)
        for name, path in _others(home):
            tar.add(path, name)
        return tar.getnames()


def _copied(source: Path, target: Path) -> None:
    """A copy of a database that somebody writes to meanwhile, as of one moment."""
    with sqlite3.connect(f"file:{source}?mode=ro", uri=True) as old, sqlite3.connect(target) as new:
        old.backup(new)
    new.close()
    old.close()


def _others(home: Home) -> Iterator[tuple[str, Path]]:
    if home.audit.exists():
        yield AUDIT, home.audit
    for path in sorted(home.keys.iterdir()) if home.keys.is_dir() else []:
        if path.is_file() and not path.name.startswith("."):
            yield f"{KEYS}/{path.name}", path


def restore(home: Home, source: Path, ask: Callable[[], str] = lambda: "") -> list[str]:
    """Put a backup in place; what is replaced is kept beside it. The controller must not run.

    ``ask`` gives the passphrase of a sealed one.
    """
    home.prepare()
    with home.lock():
        try:
            with _readable(home, source, ask) as file, tarfile.open(file) as tar:
                members = _checked(tar, source)
                kept = _moved_away(home)
                for member in members:
                    _put(tar, member, home)
        except (OSError, tarfile.TarError) as error:
            raise ApplyError(f"{source} cannot be restored: {error}") from error
    said = [f"restored {len(members) - 1} files from {source}"]
    return [*said, f"what was there before is in {kept}"] if kept else said


@contextmanager
def _readable(home: Home, source: Path, ask: Callable[[], str]) -> Iterator[Path]:
    """The backup as a tar file."""
    if not is_sealed(source):
        yield source
        return
    passphrase = ask()
    if not passphrase:
        raise ValidationError(f"{source} is sealed: restoring it takes its passphrase")
    with opened(source, passphrase, home.path / "run") as plain:
        yield plain


def _checked(tar: tarfile.TarFile, source: Path) -> list[tarfile.TarInfo]:
    """Its members, if it is a backup of ours and holds nothing that leads elsewhere."""
    members = tar.getmembers()
    fine = all(one.isfile() and one.size <= LIMIT and _ours(one.name) for one in members)
    if not fine or {ABOUT, STORE} - {one.name for one in members}:
        raise ValidationError(f"{source} is no backup of avishd")
    return members


def _ours(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    return name in (ABOUT, STORE, AUDIT) or (folder == KEYS and bool(file) and file not in (".", ".."))


def _moved_away(home: Home) -> Path | None:
    """The folder in which what is there now is kept; None when there was nothing."""
    there = [home.store.with_name(f"{STORE}{more}") for more in ("", "-wal", "-shm")] + [home.audit, home.keys]
    there = [path for path in there if path.exists()]
    if not there:
        return None
    folder = home.path / f"before-restore-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    folder.mkdir(mode=0o700)
    for path in there:
        path.rename(folder / path.name)
    return folder


def _put(tar: tarfile.TarFile, member: tarfile.TarInfo, home: Home) -> None:
    content = tar.extractfile(member)
    if member.name == ABOUT or content is None:
        return
    path = home.path / member.name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        while piece := content.read(1 << 20):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())

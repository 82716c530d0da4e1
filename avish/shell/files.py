"""Files of the user's: read and written where the shell runs, with the rights of whoever runs it."""

from __future__ import annotations

import io
import shutil
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avish.errors import ApplyError, ValidationError
from avish.newfile import PRIVATE, new_file
from avish.shell.effects import CopyFile, FileEffect, ReadFile, RemoveFile, WriteFile

if TYPE_CHECKING:
    from avish.api.client import Client

LIMIT = 128 * 1024 * 1024
"""Bytes of a file that is read."""


_REMOTE: ContextVar[Client | None] = ContextVar("remote", default=None)
"""Where the files are when the shell runs for somebody who has none here. Each session has a thread of its own."""


def confine(client: Client) -> None:
    """From now on, files of this thread's session are the controller's exports."""
    _REMOTE.set(client)


def confined() -> bool:
    """Whether the machine's files are out of reach."""
    return _REMOTE.get() is not None


def _exported(method: str, path: str, body: Any = None) -> Any:
    """An export of the controller's, read or written. ValidationError when that is refused."""
    name = path.removeprefix("/").removeprefix("exports/")
    remote = _REMOTE.get()
    if remote is None or "/" in name:
        raise ValidationError(f"{path}: over SSH a file is an export of the controller's, by its name alone")
    answer = remote.call(method, f"/api/files/exports/{name}", {"text": "1"} if method == "GET" else None, body)
    if answer.status >= 400:
        raise ValidationError(str(answer.body["error"]), status=answer.status)
    return answer.body


def handle(effect: FileEffect, *, dry: bool = False) -> str:
    """What an effect asks for: a text or a path. ValidationError and ApplyError say why it cannot be.

    ``dry``: no file is written, copied or removed.
    """
    if isinstance(effect, ReadFile):
        return read(effect)
    if isinstance(effect, WriteFile):
        return effect.path if dry else write(effect)
    if confined() and isinstance(effect, CopyFile):
        raise ValidationError("over SSH you have no files here; scp takes captures and exports away", status=403)
    if dry:
        return effect.path if confined() and isinstance(effect, RemoveFile) else _spared(effect)
    return _copy(effect) if isinstance(effect, CopyFile) else _remove(effect)


def _spared(effect: CopyFile | RemoveFile) -> str:
    """The path that a copy would have, or that would go."""
    if isinstance(effect, RemoveFile):
        return str(_plain(Path(effect.path).expanduser()))
    source, destination = _plain(Path(effect.source).expanduser()), Path(effect.destination).expanduser()
    return str(destination / source.name if destination.is_dir() else destination)


def read(effect: ReadFile) -> str:
    """The text; ValidationError says why there is none."""
    if confined():
        return str(_exported("GET", effect.path)["text"])
    path = Path(effect.path).expanduser()
    try:
        if not path.is_file():
            path.stat()  # says what else is wrong with it
            raise ValidationError(f"{path} is no plain file")
        with path.open("rb") as file:
            data = file.read(LIMIT + 1)
        if len(data) > LIMIT:
            raise ValidationError(f"{path} is larger than {LIMIT // 2**20} MB")
        return io.TextIOWrapper(io.BytesIO(data), "utf-8").read()
    except OSError as error:
        raise ValidationError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValidationError(f"{path} is no text: it is not UTF-8") from None


def write(effect: WriteFile) -> str:
    """Replace the file as a whole; its path. ApplyError when it cannot be written."""
    if confined():
        return str(_exported("PUT", effect.path, {"text": effect.text})["name"])
    path = Path(effect.path).expanduser()
    try:
        if path.exists() and not path.is_file():
            raise ApplyError(f"{path} is no plain file")
        with new_file(path, PRIVATE if effect.secret else 0o644) as file:
            file.write(effect.text.encode())
    except OSError as error:
        raise ApplyError(f"{path} cannot be written: {error.strerror}") from None
    return str(path)


def _copy(effect: CopyFile) -> str:
    source, destination = Path(effect.source).expanduser(), Path(effect.destination).expanduser()
    try:
        return str(shutil.copy2(_plain(source), destination))
    except shutil.SameFileError:
        raise ApplyError(f"{source} and {destination} are the same file") from None
    except OSError as error:
        raise ApplyError(f"{source} cannot be copied to {destination}: {error.strerror or error}") from None


def _remove(effect: RemoveFile) -> str:
    if confined():
        _exported("DELETE", effect.path)
        return effect.path
    path = Path(effect.path).expanduser()
    try:
        _plain(path).unlink()
    except OSError as error:
        raise ApplyError(f"{path} cannot be removed: {error.strerror}") from None
    return str(path)


def _plain(path: Path) -> Path:
    if not path.is_file():
        raise ValidationError(f"{path} is no file", status=404)
    return path

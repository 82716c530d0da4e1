"""/api/files: captures and exports by name; the folders are the controller's own, and nothing in them leads out."""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from avish.api.request import Request, Response
from avish.errors import ApplyError, ValidationError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,200}")
PIECE = 4 * 1024 * 1024
TEXT_LIMIT = 64 * 1024 * 1024


class Files:
    """Lists, reads and (exports only) writes plain files; symbolic links are none."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders

    def listing(self, request: Request) -> Response:
        """{"captures": [{"name", "size", "modified"}], "exports": [..]}; sizes in bytes, times in seconds."""
        del request
        return Response(200, {name: self._names(folder) for name, folder in self._folders.items()})

    def get(self, request: Request) -> Response:
        """The file; with ``offset`` and ``size`` a piece of it as {"data": hexadecimal}."""
        path, handle = self._open(request)
        with os.fdopen(handle, "rb") as file:
            if "text" in request.query:
                return Response(200, {"text": file.read(TEXT_LIMIT).decode("utf-8", "replace")})
            if "offset" not in request.query:
                return Response(200, file=str(path))
            file.seek(_number(request.query, "offset"))
            return Response(200, {"data": file.read(min(_number(request.query, "size"), PIECE)).hex()})

    def put(self, request: Request) -> Response:
        """{"text": ..} or {"data": base 64} becomes an export."""
        folder, name = _place(request)
        given = request.body if isinstance(request.body, dict) else {}
        if folder != "exports" or not NAME.fullmatch(name):
            raise ValidationError("only exports/NAME can be written (letters, digits and . _ @ + -)", status=403)
        try:
            data = str(given["text"]).encode() if "text" in given else base64.b64decode(str(given.get("data", "")))
        except ValueError:
            raise ValidationError("data: this is no base 64") from None
        if len(data) > TEXT_LIMIT:
            raise ValidationError(f"an export has at most {TEXT_LIMIT >> 20} MB", status=413)
        path = self._folders[folder] / name
        beside = path.with_name(f".{name}.{request.id}")
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
                file.write(data)
            beside.replace(path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise ApplyError(f"exports/{name} cannot be written: {error.strerror}") from error
        return Response(200, {"name": f"exports/{name}"})

    def _names(self, folder: Path) -> list[dict[str, Any]]:
        found = []
        with suppress(FileNotFoundError):
            for entry in sorted(os.scandir(folder), key=lambda one: one.name):
                if NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    about = entry.stat(follow_symlinks=False)
                    found.append({"name": entry.name, "size": about.st_size, "modified": about.st_mtime})
        return found

    def _open(self, request: Request) -> tuple[Path, int]:
        folder, name = _place(request)
        if folder in self._folders and NAME.fullmatch(name):
            path = self._folders[folder] / name
            with suppress(OSError):
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                if stat.S_ISREG(os.fstat(handle).st_mode):
                    return path, handle
                os.close(handle)
        raise ValidationError(f"there is no file {folder}/{name}", status=404)


def _place(request: Request) -> tuple[str, str]:
    parts = [part for part in request.path.split("/") if part]
    return parts[-2], parts[-1]


def _number(query: Mapping[str, str], name: str) -> int:
    try:
        return max(0, int(query.get(name, "0")))
    except ValueError:
        raise ValidationError(f"{name}: {query[name]!r} is not a whole number") from None

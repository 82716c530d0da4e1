"""/api/files: captures and exports by name; the folders are the controller's own, and nothing in them leads out."""

from __future__ import annotations

import os
import re
import stat
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from avish.api.request import Request, Response
from avish.config.wellknown import ADMIN_TENANT
from avish.controller.access import CONTROLLER, READ, Scope
from avish.controller.capture_files import Folder
from avish.controller.gate import Gate
from avish.errors import ApplyError, ValidationError
from avish.newfile import new_file

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,200}")
CAPTURES, EXPORTS = "captures", "exports"
PIECE = 4 * 1024 * 1024
TEXT_LIMIT = 24 * 1024 * 1024
"""Bytes of a text that is written or read as one."""
QUOTA = 256 * 1024 * 1024
"""Bytes of the exports of one user."""
CAPTURE = "PERMISSION_TRAFFIC_CAPTURE"


class Files:
    """Lists, reads and (exports only) writes plain files; symbolic links are none.

    Captures are for whoever may capture in their tenant. Exports are each user's own, in a folder of his; what the
    controller makes (archives for support) and what superusers write stands above these folders, for those who may read
    the controller.
    """

    def __init__(self, captures: Folder, exports: Path, gate: Gate) -> None:
        self._captures, self._exports, self._gate = captures, exports, gate

    def listing(self, request: Request) -> Response:
        """{"captures": [{"name", "size", "modified"}], "exports": [..]}; sizes in bytes, times in seconds."""
        scope = self._gate.scope(request)
        mine = {one["name"]: one for folder in reversed(self._of(scope)) for one in _names(folder)}
        captures = [one for one in _names(self._captures.path) if self._may_read(scope, one["name"])]
        return Response(200, {CAPTURES: captures, EXPORTS: [mine[name] for name in sorted(mine)]})

    def get(self, request: Request) -> Response:
        """The file; with ``offset`` and ``size`` a piece of it as {"data": hexadecimal}; with ``text`` {"text"}."""
        path, handle = self._open(request)
        with os.fdopen(handle, "rb") as file:
            if "text" in request.query:
                if os.fstat(file.fileno()).st_size > TEXT_LIMIT:
                    raise ValidationError(f"{path.name} has more than {TEXT_LIMIT >> 20} MB: scp takes it", status=413)
                return Response(200, {"text": _text(path.name, file.read())})
            if "offset" not in request.query:
                return Response(200, file=str(path))
            file.seek(_number(request.query, "offset"))
            return Response(200, {"data": file.read(min(_number(request.query, "size"), PIECE)).hex()})

    def put(self, request: Request) -> Response:
        """{"text": ..} or {"data": base 64} becomes an export of the user's."""
        folder, name = _place(request)
        given = request.body if isinstance(request.body, dict) else {}
        if folder != EXPORTS or not NAME.fullmatch(name):
            raise ValidationError("only exports/NAME can be written (letters, digits and . _ @ + -)", status=403)
        data = _data(given)
        own = self._of(self._gate.scope(request))[0]
        self._fits(own, name, len(data))
        try:
            own.mkdir(mode=0o700, parents=True, exist_ok=True)
            with new_file(own / name) as file:
                file.write(data)
        except OSError as error:
            raise ApplyError(f"exports/{name} cannot be written: {error.strerror}") from error
        return Response(200, {"name": f"exports/{name}"})

    def delete(self, request: Request) -> Response:
        """Remove an export of the user's."""
        _, name = _place(request)
        try:
            if not NAME.fullmatch(name):
                raise FileNotFoundError
            (self._of(self._gate.scope(request))[0] / name).unlink()
        except FileNotFoundError:
            raise ValidationError(f"there is no file exports/{name} of yours", status=404) from None
        except OSError as error:
            raise ApplyError(f"exports/{name} cannot be removed: {error.strerror}") from error
        return Response(204)

    def _of(self, scope: Scope) -> list[Path]:
        """The folders whose exports somebody reads; in the first one he writes."""
        if scope.caller.superuser:
            return [self._exports]
        own = self._exports / f"of-{quote(scope.caller.name, safe='')}"
        return [own, self._exports] if scope.caller.level(CONTROLLER, ADMIN_TENANT) >= READ else [own]

    def _may_read(self, scope: Scope, name: str) -> bool:
        """Whether a capture's file is for somebody: he may capture in its tenant."""
        kept = next((one for one in self._captures.kept() if name in one.files), None)
        tenant = self._gate.tenant(kept.tenant) if kept else ADMIN_TENANT
        return scope.caller.level(CAPTURE, tenant) >= READ

    def _fits(self, own: Path, name: str, size: int) -> None:
        """ApplyError when there is no room, ValidationError (413) when the user has too much already."""
        if reason := self._captures.full():
            raise ApplyError(f"exports/{name} cannot be written: {reason}")
        used = sum(one["size"] for one in _names(own) if one["name"] != name)
        if used + size > QUOTA:
            text = f"your exports would have more than {QUOTA >> 20} MB: purge file source NAME removes one"
            raise ValidationError(text, status=413)

    def _open(self, request: Request) -> tuple[Path, int]:
        folder, name = _place(request)
        scope = self._gate.scope(request)
        folders = self._of(scope) if folder == EXPORTS else [self._captures.path]
        if NAME.fullmatch(name) and (folder == EXPORTS or self._may_read(scope, name)):
            for path in (one / name for one in folders):
                with suppress(OSError):
                    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                    if stat.S_ISREG(os.fstat(handle).st_mode):
                        return path, handle
                    os.close(handle)
        raise ValidationError(f"there is no file {folder}/{name}", status=404)


def _names(folder: Path) -> list[dict[str, Any]]:
    found = []
    with suppress(FileNotFoundError):
        for entry in sorted(os.scandir(folder), key=lambda one: one.name):
            if NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                about = entry.stat(follow_symlinks=False)
                found.append({"name": entry.name, "size": about.st_size, "modified": about.st_mtime})
    return found


def _data(given: Mapping[str, Any]) -> bytes:
    """The bytes that a body gives."""
    try:
        data = str(given["text"]).encode() if "text" in given else b64decode(str(given.get("data", "")), validate=True)
    except ValueError:
        raise ValidationError("data: this is no base 64") from None
    if len(data) > TEXT_LIMIT:
        raise ValidationError(f"an export has at most {TEXT_LIMIT >> 20} MB", status=413)
    return data


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValidationError(f"{name} is no text: it is not UTF-8") from None


def _place(request: Request) -> tuple[str, str]:
    parts = [part for part in request.path.split("/") if part]
    return parts[-2], parts[-1]


def _number(query: Mapping[str, str], name: str) -> int:
    try:
        return max(0, int(query.get(name, "0")))
    except ValueError:
        raise ValidationError(f"{name}: {query[name]!r} is not a whole number") from None

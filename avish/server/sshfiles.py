"""scp and sftp: captures and exports, read only, as the controller hands them out; no file system is behind it."""

from __future__ import annotations

import asyncio
import stat
from typing import Any

import asyncssh

from avish.server.sshlogin import Settings, ask, known_of

FOLDERS = ("captures", "exports")
AHEAD = 1024 * 1024
READ_ONLY = "captures and exports are read only"


class Files(asyncssh.SFTPServer):
    """The files of one session. Paths are /captures/NAME and /exports/NAME; nothing else exists."""

    def __init__(self, channel: Any, settings: Settings) -> None:
        super().__init__(channel)
        self._settings = settings

    async def _get(self, path: str, **query: int) -> tuple[int, Any]:
        known = await known_of(self.channel.get_connection(), None)
        if known is None:
            raise asyncssh.SFTPPermissionDenied("not let in")
        words = "&".join(f"{name}={value}" for name, value in query.items())
        where = f"/api/files{path}" + (f"?{words}" if words else "")
        return await asyncio.to_thread(ask, "GET", where, None, known.session, "ssh")

    async def _listing(self) -> dict[str, list[dict[str, Any]]]:
        status, answer = await self._get("")
        if status != 200:
            raise asyncssh.SFTPPermissionDenied(str((answer or {}).get("error", "")))
        return dict(answer)

    async def _attributes(self, path: bytes) -> Any:
        parts = _parts(path)
        if not parts or (len(parts) == 1 and parts[0] in FOLDERS):
            return _folder()
        if len(parts) == 2:
            found = (await self._listing()).get(parts[0], [])
            for one in found:
                if one["name"] == parts[1]:
                    return _attrs(one)
        raise asyncssh.SFTPNoSuchFile("no such file: captures/ and exports/ are here")

    def realpath(self, path: bytes) -> bytes:
        """Nothing links anywhere."""
        return "/".join(["", *_parts(path)]).encode() or b"/"

    async def stat(self, path: bytes) -> Any:
        """Size and time."""
        return await self._attributes(path)

    lstat = stat

    async def listdir(self, path: bytes) -> list[bytes]:
        """Names."""
        return [entry.filename async for entry in self.scandir(path)]

    async def scandir(self, path: bytes) -> Any:
        """Entries."""
        parts = _parts(path)
        if parts and (len(parts) > 1 or parts[0] not in FOLDERS):
            raise asyncssh.SFTPNoSuchFile("no such folder")
        folder = _folder()
        entries = [(b".", folder), (b"..", folder)]
        if not parts:
            entries += [(name.encode(), folder) for name in FOLDERS]
        else:
            entries += [(one["name"].encode(), _attrs(one)) for one in (await self._listing()).get(parts[0], [])]
        for name, attributes in entries:
            yield asyncssh.SFTPName(name, attrs=attributes)

    async def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
        """For reading."""
        del attrs
        if pflags & (asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_TRUNC | asyncssh.FXF_APPEND):
            raise asyncssh.SFTPPermissionDenied(READ_ONLY)
        return _Open(path, await self._attributes(path))

    async def open56(self, path: bytes, desired_access: int, flags: int, attrs: Any) -> Any:
        """For reading."""
        del flags, attrs
        if desired_access & (asyncssh.ACE4_WRITE_DATA | asyncssh.ACE4_APPEND_DATA):
            raise asyncssh.SFTPPermissionDenied(READ_ONLY)
        return _Open(path, await self._attributes(path))

    async def read(self, file_obj: Any, offset: int, size: int) -> bytes:
        """A piece of it."""
        data: bytes = await file_obj.read(self, offset, size)
        return data

    def close(self, file_obj: Any) -> None:
        """Nothing was held."""

    async def fstat(self, file_obj: Any) -> Any:
        """Size and time."""
        return file_obj.attributes

    def exit(self) -> None:
        """OpenSSH's scp waits for an exit status."""
        self.channel.exit(0)


def _refuse(*_: Any) -> Any:
    raise asyncssh.SFTPPermissionDenied(READ_ONLY)


for _name in (
    "write", "remove", "rename", "posix_rename", "mkdir", "rmdir", "setstat", "lsetstat", "fsetstat", "symlink", "link",
    "readlink", "statvfs", "fstatvfs", "lock", "unlock",
):  # fmt: skip
    setattr(Files, _name, _refuse)


class _Open:
    """A file that is read; a piece ahead is kept, for clients ask for little at a time."""

    def __init__(self, path: bytes, attributes: Any) -> None:
        self.attributes = attributes
        self._path = "/".join(["", *_parts(path)])
        self._start, self._data = 0, b""
        self._lock = asyncio.Lock()

    async def read(self, files: Files, offset: int, size: int) -> bytes:
        """A piece, as long as was asked for unless the file ends; b"" at the end."""
        found = b""
        async with self._lock:
            while len(found) < size:
                piece = await self._piece(files, offset + len(found), size - len(found))
                if not piece:
                    break
                found += piece
        return found

    async def _piece(self, files: Files, offset: int, size: int) -> bytes:
        if not self._start <= offset < self._start + len(self._data):
            status, answer = await files._get(self._path, offset=offset, size=AHEAD)  # noqa: SLF001
            if status != 200:
                raise asyncssh.SFTPFailure(str((answer or {}).get("error", "")))
            self._start, self._data = offset, bytes.fromhex(answer["data"])
        place = offset - self._start
        return self._data[place : place + size]


def _attrs(one: dict[str, Any]) -> Any:
    time = int(one["modified"])
    about = {"type": asyncssh.FILEXFER_TYPE_REGULAR, "permissions": stat.S_IFREG | 0o400, "size": int(one["size"])}
    return asyncssh.SFTPAttrs(**about, atime=time, mtime=time)


def _folder() -> Any:
    return asyncssh.SFTPAttrs(type=asyncssh.FILEXFER_TYPE_DIRECTORY, permissions=stat.S_IFDIR | 0o500, size=0)


def _parts(path: bytes) -> list[str]:
    """The parts of a path below the root; what climbs above it stays there."""
    parts: list[str] = []
    for part in path.decode("utf-8", "surrogateescape").split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return parts

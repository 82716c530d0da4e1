"""The home directory: where everything is, who may read it, and the lock that keeps a second controller out."""

from __future__ import annotations

import fcntl
import grp
import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from avish.config.engines import BETWEEN, place_of
from avish.config.wellknown import GLOBAL_VRF
from avish.errors import UnavailableError, ValidationError
from dataplane.lab import write_atomically

GROUP = "avish"
"""Whose members may use the controller besides root."""
_FOLDERS = {"captures", "exports", "log", "run"}
_MARKS = {"avish.db", "engines.json", "lab.json"}
"""Any of these, or all folders, make a directory a home."""
_WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
"""A struct flock. The lock is on the open file (OFD): it goes with the process, and looking at it takes none."""
SOCKET_PATH_MAX = 107
"""Bytes the kernel takes for the path of a Unix socket."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """An engine to run in one of its VRFs. ``group``: name of its service engine group; ``namespace``: "" is the
    host's own; ``made``: the namespace is the lab's and goes with it.
    """

    name: str
    group: str
    namespace: str
    made: bool = False
    vrf: str = GLOBAL_VRF

    @property
    def place(self) -> str:
        """What tells it from every other one: "se1", "se1/blue"."""
        return place_of(self.name, self.vrf)


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below one directory, made with mode 0700; one that is there already keeps its mode."""

    path: Path

    @property
    def socket(self) -> Path:
        """Where the controller listens."""
        return self.path / "avishd.sock"

    @property
    def store(self) -> Path:
        """The database."""
        return self.path / "avish.db"

    @property
    def log(self) -> Path:
        """The folder of logs."""
        return self.path / "log"

    @property
    def audit(self) -> Path:
        """The record of logins, changes and refusals."""
        return self.log / "audit.jsonl"

    @property
    def keys(self) -> Path:
        """The folder of what must never leave this machine: private keys and what seals secrets."""
        return self.path / "keys"

    @property
    def captures(self) -> Path:
        """The folder of capture files."""
        return self.path / "captures"

    @property
    def backups(self) -> Path:
        """The folder of scheduled backups."""
        return self.path / "backups"

    @property
    def events(self) -> Path:
        """The events."""
        return self.path / "events.db"

    @property
    def alert_scripts(self) -> Path:
        """The folder whose programs get every alert."""
        return self.path / "alert-scripts"

    def agent_socket(self, place: str) -> Path:
        """Where the agent of an engine listens, in one VRF."""
        return self.path / "run" / f"{_file_name(place)}.sock"

    def agent_log(self, place: str) -> Path:
        """What the agent of an engine says, in one VRF."""
        return self.log / f"agent-{_file_name(place)}.log"

    def prepare(self) -> None:
        """Make the folders. UnavailableError when that fails, ValidationError for a directory of something else."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._ours()
            for name in _FOLDERS:
                (self.path / name).mkdir(mode=0o700, exist_ok=True)
            self._admit(socket_group())
        except OSError as error:
            raise UnavailableError(f"the home directory cannot be used: {error.filename}: {error.strerror}") from error
        self._short_enough()

    def _admit(self, group: int | None) -> None:
        """Let the group's members get to the socket; everything else in here stays closed to them."""
        if group is not None:
            os.chown(self.path, -1, group)
            self.path.chmod(0o710)

    def _ours(self) -> None:
        there = {entry.name for entry in self.path.iterdir()}
        if not (there & _MARKS or there <= _FOLDERS or there >= _FOLDERS):
            raise ValidationError(
                f"{self.path}: there are files in it, but not those of a home: choose a new or an empty directory"
            )

    def _short_enough(self) -> None:
        longest = max(
            len(os.fsencode(self.agent_socket(spec.place))) for spec in [*self.engines(), EngineSpec("se", "", "")]
        )
        if longest > SOCKET_PATH_MAX:
            raise ValidationError(
                f"{self.path}: the path of the home directory is too long for a Unix socket: choose a shorter one"
            )

    def engines(self) -> list[EngineSpec]:
        """The engines written down by ``keep_engines``, in order; none without. UnavailableError for a broken file."""
        try:
            entries = json.loads(self._engines_file.read_text(encoding="utf-8"))
            return [EngineSpec(**entry) for entry in entries]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            raise UnavailableError(f"{self._engines_file} cannot be read: {error}; remove it") from error

    def keep_engines(self, specs: list[EngineSpec]) -> None:
        """Write down which engines this controller runs. UnavailableError when that fails."""
        try:
            write_atomically(self._engines_file, json.dumps([asdict(spec) for spec in specs], indent=2) + "\n")
        except OSError as error:
            raise UnavailableError(f"{self._engines_file} cannot be written: {error.strerror}") from error

    def forget_engines(self) -> None:
        """They are gone."""
        self._engines_file.unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held while a controller serves this home. UnavailableError when another one does."""
        handle = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(handle, self.path)
            try:
                os.ftruncate(handle, 0)
                os.pwrite(handle, str(os.getpid()).encode(), 0)
                yield
            finally:
                os.ftruncate(handle, 0)  # nobody takes the pid for that of the next one
        finally:
            os.close(handle)

    def holder(self) -> int | None:
        """The pid of the controller that serves this home, None when there is none."""
        try:
            handle = os.open(self._lock_file, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            free = struct.unpack_from("h", fcntl.fcntl(handle, fcntl.F_OFD_GETLK, _WHOLE_FILE))[0] == fcntl.F_UNLCK
            text = os.pread(handle, 20, 0)
        finally:
            os.close(handle)
        if free or not text.isdigit() or not _has_open(int(text), self._lock_file):
            return None
        return int(text)

    @property
    def _engines_file(self) -> Path:
        return self.path / "engines.json"

    @property
    def _lock_file(self) -> Path:
        return self.path / "run" / "avishd.lock"


def _file_name(place: str) -> str:
    """No two places come to the same one: a name in a topology has no plus."""
    return place.replace(BETWEEN, "+")


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _WHOLE_FILE)
    except BlockingIOError:
        pid = os.pread(handle, 20, 0).decode() or "?"
        raise UnavailableError(f"another controller (process {pid}) serves {path} already") from None


def _has_open(pid: int, path: Path) -> bool:
    """Whether the process has the file open: a pid left behind by a crash may be anybody's by now."""
    wanted = str(path.resolve())
    with suppress(OSError):  # the process is gone
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                if str(entry.readlink()) == wanted:
                    return True
    return False


def private_log(path: Path) -> IO[bytes]:
    """A file of mode 0600 to append to; never through a symbolic link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "ab")


def socket_group() -> int | None:
    """The id of the group whose members may use the controller, None when the system has no such group."""
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None

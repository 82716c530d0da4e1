"""The home directory: where everything is, who may read it, and the lock that keeps a second controller out."""

from __future__ import annotations

import fcntl
import grp
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from avish.errors import UnavailableError, ValidationError

GROUP = "avish"
SOCKET_PATH_MAX = 107
"""Bytes the kernel takes for the path of a Unix socket."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """An engine to run. ``group``: name of its service engine group; ``namespace``: "" is the host's own;
    ``made``: the namespace is the lab's and goes with it.
    """

    name: str
    group: str
    namespace: str
    made: bool = False


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below one directory, made with mode 0700."""

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
    def captures(self) -> Path:
        """The folder of capture files."""
        return self.path / "captures"

    def agent_socket(self, engine: str) -> Path:
        """Where the agent of an engine listens."""
        return self.path / "run" / f"{engine}.sock"

    def agent_log(self, engine: str) -> Path:
        """What the agent of an engine says."""
        return self.log / f"agent-{engine}.log"

    def prepare(self) -> None:
        """Make the folders; UnavailableError when that fails."""
        try:
            for folder in (self.path, *(self.path / name for name in ("captures", "exports", "log", "run"))):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
            group = socket_group()
            if group is not None:  # its members must get to the socket, and to nothing else
                os.chown(self.path, -1, group)
                self.path.chmod(0o710)
        except OSError as error:
            raise UnavailableError(f"the home directory cannot be used: {error.filename}: {error.strerror}") from error
        self._short_enough()

    def _short_enough(self) -> None:
        longest = max(
            len(os.fsencode(self.agent_socket(spec.name))) for spec in [*self.engines(), EngineSpec("se", "", "")]
        )
        if longest > SOCKET_PATH_MAX:
            raise ValidationError(
                f"{self.path}: the path of the home directory is too long for a Unix socket: choose a shorter one"
            )

    def engines(self) -> list[EngineSpec]:
        """The engines written down by ``keep_engines``, in order; none without."""
        try:
            entries = json.loads((self.path / "engines.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        return [EngineSpec(**entry) for entry in entries]

    def keep_engines(self, specs: list[EngineSpec]) -> None:
        """Write down which engines this controller runs."""
        new = self.path / "engines.json.new"
        new.write_text(json.dumps([asdict(spec) for spec in specs], indent=2) + "\n", encoding="utf-8")
        new.replace(self.path / "engines.json")

    def forget_engines(self) -> None:
        """They are gone."""
        (self.path / "engines.json").unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held while a controller serves this home. UnavailableError when another one does."""
        handle = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(handle, self.path)
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(handle)

    def holder(self) -> int | None:
        """The pid of the controller that serves this home, None when there is none."""
        try:
            handle = os.open(self._lock_file, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(handle, 20, 0)
            return int(text) if text.isdigit() else None
        finally:
            os.close(handle)
        return None

    @property
    def _lock_file(self) -> Path:
        return self.path / "run" / "avishd.lock"


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(handle, 20, 0).decode() or "?"
        raise UnavailableError(f"another controller (process {pid}) serves {path} already") from None


def private_log(path: Path) -> IO[bytes]:
    """A file of mode 0600 to append to; never through a symbolic link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "ab")


def socket_group() -> int | None:
    """The id of the group whose members may use the controller, None when it does not exist."""
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None

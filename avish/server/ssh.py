"""The controller's side of SSH: host keys, and the process of its own that speaks it, started again when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pwd
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from avish.config.config import Config
from avish.errors import UnavailableError
from avish.server.home import GROUP, Home
from avish.server.http import Door
from avish.server.sockets import listen
from avish.server.tls import write_private

log = logging.getLogger(__name__)

NOBODY = "nobody"
SOCKET = "front.sock"
AGAIN_SECONDS = 2.0
STOP_SECONDS = 5.0
MINUTE = 60.0


def front_user() -> tuple[int, int]:
    """(uid, gid) of the process; our own where there is no right to become another."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    for name in (GROUP, NOBODY):
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            if found.pw_uid != 0:
                return found.pw_uid, found.pw_gid
    raise UnavailableError(f"SSH needs a user without rights: neither {GROUP} nor {NOBODY} exists on this system")


def host_keys(folder: Path) -> list[str]:
    """The private keys in OpenSSH's form, made at the first start: ed25519, and RSA for old clients."""
    import asyncssh

    folder.mkdir(mode=0o700, exist_ok=True)
    kinds = {"ssh_host_ed25519_key": ("ssh-ed25519", {}), "ssh_host_rsa_key": ("ssh-rsa", {"key_size": 3072})}
    keys = []
    for name, (kind, more) in kinds.items():
        path = folder / name
        if not path.exists():
            made = asyncssh.generate_private_key(kind, comment=f"avish@{socket.gethostname()}", **more)
            write_private(path, made.export_private_key())
            write_private(folder / f"{name}.pub", made.export_public_key())
        key = asyncssh.read_private_key(path)
        log.info("SSH host key %s %s", kind, key.get_fingerprint())
        keys.append(path.read_text(encoding="ascii"))
    return keys


def live_settings(config: Config) -> dict[str, Any]:
    """What the process is told at its begin and whenever it changes."""
    system = config.get("systemconfiguration", "systemconfiguration") or {}
    linux: Mapping[str, Any] = system.get("linux_configuration", {})
    banner, message = str(linux.get("banner") or ""), str(linux.get("motd") or "")
    properties = config.get("controllerproperties", "controllerproperties") or {}
    idle = float(properties.get("api_idle_timeout", 15)) * MINUTE
    return {"banner": banner, "message": message, "idle_seconds": idle}


class SshFront:
    """The process, and the door it comes in by."""

    def __init__(self, home: Home, listener: socket.socket) -> None:
        self._folder = home.path / "run" / "front"
        self._folder.mkdir(mode=0o711, exist_ok=True)
        self._folder.chmod(0o711)
        self._keys = host_keys(home.keys)
        self._listener = listener
        self._user, self._group = front_user()
        self._process: asyncio.subprocess.Process | None = None
        self._told: dict[str, Any] = {}
        self._changed = asyncio.Event()
        inside = listen(self._folder / SOCKET, None)
        os.chown(self._folder / SOCKET, self._user, self._group)
        self.door = Door(inside, "ssh")

    def changed(self) -> None:
        """The configuration is another one: what the process has to know of it is told."""
        self._changed.set()

    async def run(self, config: Callable[[], Config], ended: asyncio.Event) -> None:
        """Keep it running until ``ended``; it is told what ``config`` says when it begins, and then what changes."""
        while not ended.is_set():
            await self._start(config())
            stopping = asyncio.create_task(ended.wait())
            over = asyncio.create_task(self._over())
            telling = asyncio.create_task(self._keep_told(config))
            await asyncio.wait({stopping, over}, return_when=asyncio.FIRST_COMPLETED)
            telling.cancel()
            if ended.is_set():
                await self._stop(over)
                return
            stopping.cancel()
            log.error("the SSH front ended with status %s; it is started again", over.result())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), AGAIN_SECONDS)

    async def _start(self, config: Config) -> None:
        command = [sys.executable, "-m", "avish.server.sshfront"]
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            pass_fds=[self._listener.fileno()],
            start_new_session=True,
        )
        place = {"folder": str(self._folder), "user": self._user, "group": self._group}
        self._told = live_settings(config)
        always = {"host_keys": self._keys, "host": socket.gethostname(), "listener": self._listener.fileno()}
        await self._tell({**self._told, **always, **place})

    async def _keep_told(self, config: Callable[[], Config]) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            new = live_settings(config())
            if new != self._told:
                self._told = new
                await self._tell(new)

    async def _tell(self, given: dict[str, Any]) -> None:
        """A line on its standard input; one that has just ended is told when it is started again."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                self._process.stdin.write(json.dumps(given).encode() + b"\n")
                await self._process.stdin.drain()

    async def _over(self) -> int:
        return -1 if self._process is None else await self._process.wait()

    async def _stop(self, over: asyncio.Task[int]) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(asyncio.shield(over), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await over

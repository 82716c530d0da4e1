"""The process that speaks SSH: no rights of its own, and at the controller's door only those of users it let in.

It begins as root, to listen and to load what it needs, and is nobody from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib
import json
import logging
import os
import pkgutil
import re
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import asyncssh

from avish.server.sshfiles import Files
from avish.server.sshlogin import Door, Settings
from avish.server.sshsession import Sessions
from avish.server.zygote import Zygote

log = logging.getLogger(__name__)

PR_SET_NO_NEW_PRIVS, PR_SET_DUMPABLE = 38, 4
LOGINS = 2
ORDER_BYTES = 8 * 2**20
KEEPALIVE_SECONDS, KEEPALIVE_COUNT = 30, 3
ALGORITHMS: dict[str, list[str]] = {
    "kex_algs": [
        "curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384",
        "diffie-hellman-group16-sha512", "diffie-hellman-group14-sha256",
    ],
    "encryption_algs": [
        "chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr", "aes128-ctr",
    ],
    "mac_algs": ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512"],
}  # fmt: skip


LATE = (
    "yaml", "difflib", "zoneinfo", "getpass", "pwd", "calendar", "concurrent.futures.thread", "csv",
    "encodings.utf_8_sig", "encodings.idna", "encodings.latin_1", "encodings.ascii", "encodings.cp437", "linecache",
    "stringprep", "traceback", "uuid", "_strptime", "multiprocessing",
)  # fmt: skip
"""What the libraries import when they first need it."""


@dataclass
class Front:
    """Everything of one process."""

    settings: Settings
    zygote: Zygote
    logins: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(LOGINS, thread_name_prefix="login"))

    async def serve(self, listener: socket.socket) -> None:
        """Until SIGTERM, or until the controller is gone."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        orders = asyncio.create_task(self._take_orders(ended))
        sessions = Sessions(self.settings, self.zygote)
        keys = [asyncssh.import_private_key(text) for text in self.settings.host_keys]
        server = await asyncssh.listen(
            sock=listener,
            server_factory=lambda: Door(self.settings, self.logins, sessions),
            server_host_keys=keys,
            process_factory=sessions.handle,
            sftp_factory=lambda channel: Files(channel, self.settings),
            allow_scp=True,
            encoding=None,
            line_editor=False,
            agent_forwarding=False,
            x11_forwarding=False,
            login_timeout=self.settings.login_seconds,
            keepalive_interval=KEEPALIVE_SECONDS,
            keepalive_count_max=KEEPALIVE_COUNT,
            server_version="avish",
            compression_algs=["none"],
            **ALGORITHMS,
        )
        await ended.wait()
        orders.cancel()
        server.close()
        sessions.end_all()
        self.zygote.close()

    async def _take_orders(self, ended: asyncio.Event) -> None:
        """Standard input: settings that have changed, one line of JSON each; its end is that of the controller."""
        reader = asyncio.StreamReader(limit=ORDER_BYTES)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
        try:
            while line := await reader.readline():
                self.settings.renew(json.loads(line))
        finally:
            ended.set()


def load_everything() -> None:
    """Whatever a session may import later, now: the code may be where nobody has no right to read."""
    import prompt_toolkit

    import avish.shell
    import avish.shell.verbs

    for package in (avish.shell, avish.shell.verbs):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if not module.ispkg:
                importlib.import_module(module.name)
    for module in pkgutil.walk_packages(prompt_toolkit.__path__, "prompt_toolkit."):
        if not re.search(r"contrib|win32|windows|conemu|pyperclip", module.name):
            importlib.import_module(module.name)
    for name in LATE:
        importlib.import_module(name)
    from avish.schema.load import schema

    schema().objects()


def become(user: int, group: int) -> None:
    """Give all rights away, for good."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def main() -> int:
    """Reads its settings as one line of JSON from standard input, and what changes later as further ones."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    with os.fdopen(os.dup(0), "rb", buffering=0) as orders:  # not a byte beyond the first line
        given: dict[str, Any] = json.loads(orders.readline())
    listener = socket.socket(fileno=given.pop("listener"))
    user, group = given.pop("user"), given.pop("group")
    os.chdir(given.pop("folder"))
    os.umask(0o077)
    load_everything()
    become(user, group)
    settings = Settings(**given)
    zygote = Zygote.start()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Front(settings, zygote).serve(listener))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Shells for people, each a process of its own, forked in milliseconds from one that has loaded everything."""

from __future__ import annotations

import array
import contextlib
import fcntl
import gc
import json
import os
import signal
import socket
import sys
import tempfile
import termios
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT = 65_536


@dataclass
class Zygote:
    """The way to the process that forks. Made before there are threads or an event loop."""

    way: socket.socket
    pid: int

    @classmethod
    def start(cls) -> Zygote:
        """Fork it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gc.collect()
        gc.freeze()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _serve(theirs)
            os._exit(0)
        theirs.close()
        return cls(ours, pid)

    def shell(self, given: dict[str, Any]) -> tuple[int, int]:
        """A shell; (master of its terminal, a pipe that ends with its exit status). ``given``: see ``_shell``."""
        master, slave = os.openpty()
        reader, writer = os.pipe()
        attributes = termios.tcgetattr(slave)
        attributes[3] &= ~termios.ECHO  # what is typed before the line editor is there must not be shown twice
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        resize(master, given["columns"], given["lines"])
        try:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [slave, writer]))
            self.way.sendmsg([json.dumps(given).encode()], [rights])
        finally:
            os.close(slave)
            os.close(writer)
        os.set_blocking(master, False)
        os.set_blocking(reader, False)
        return master, reader

    def close(self) -> None:
        """No more shells."""
        self.way.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def resize(terminal: int, columns: int, lines: int) -> None:
    """Tell a terminal its size."""
    size = array.array("H", [max(1, min(lines or 24, 1000)), max(1, min(columns or 80, 1000)), 0, 0])
    with contextlib.suppress(OSError):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)


def _serve(way: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a shell: its pipe tells that it is over
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        data, rights, _, _ = way.recvmsg(LIMIT, socket.CMSG_SPACE(2 * array.array("i").itemsize))
        if not data:
            return
        descriptors = array.array("i")
        for _, _, found in rights:
            descriptors.frombytes(found[: len(found) - len(found) % descriptors.itemsize])
        if os.fork() == 0:
            way.close()
            _shell(json.loads(data), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _shell(given: dict[str, Any], terminal: int, status: int) -> None:
    """Be the shell of one session: {"session", "user", "tenant", "host", "term", "columns", "lines"}."""
    code = 70
    try:
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        for number in (0, 1, 2):
            os.dup2(terminal, number)
        os.close(terminal)
        for number in (signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False),
        )  # fmt: skip
        code = _run(given)
        sys.stdout.flush()
    except (SystemExit, KeyboardInterrupt):
        code = 130
    except BaseException:  # noqa: BLE001  (a bug; nothing of it may reach the terminal of somebody)
        with contextlib.suppress(OSError):
            handle, name = tempfile.mkstemp(".log", "avish-ssh-")
            os.write(handle, traceback.format_exc().encode())
            os.write(1, f"internal error; details in {name}\r\n".encode())
    finally:
        with contextlib.suppress(OSError):
            os.write(status, bytes([code & 0xFF]))
        os._exit(code & 0xFF)


def _run(given: dict[str, Any]) -> int:
    from avish.api.client import Client
    from avish.api.reach import SessionReach
    from avish.lang.tree import Tree
    from avish.schema.load import schema
    from avish.server.sshlogin import SOCKET
    from avish.shell import main as shell
    from avish.shell.files import confine

    os.environ |= {
        "TERM": given["term"] or "vt100",
        "LOGNAME": given["user"],
        "USER": given["user"],
        "HOME": "/nonexistent",
    }
    os.environ["LESSSECURE"] = "1"
    client = Client(SessionReach(SOCKET, given["session"], Path("/tmp")))  # noqa: S108  (where a bug is written down)
    confine(client)
    options = shell._options().parse_args([])  # noqa: SLF001
    options.tenant, options.host = given["tenant"], given["host"]
    return shell._terminal(options, Tree(schema()), client)  # noqa: SLF001

"""A program in a pseudo terminal: keys in, screen text out, with the time at which the text was there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

ROWS, COLUMNS = 50, 120
ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-B]|[=>78cDEHM])")
ASKS_POSITION = b"\x1b[6n"
POSITION = b"\x1b[1;1R"
PATIENCE = 30.0
"""Seconds after which a program hangs."""
OVERLAP = 2000
"""Bytes looked at again when more have come: a text may arrive in pieces, escape sequences between them."""
QUIET = 0.03
"""Seconds without output after which a program has finished painting."""


class Terminal:
    """The program runs from the start of the ``with`` block to its end; ``began`` is when it was started."""

    def __init__(self, argv, environment=None):
        self.argv = argv
        self.environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(environment or {})}
        self.raw = b""
        self.answered = 0

    def __enter__(self):
        self.began = time.perf_counter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            self._become()
        return self

    def _become(self):
        try:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            os.execve(self.argv[0], self.argv, self.environment)
        finally:
            os._exit(127)

    def __exit__(self, *_):
        os.close(self.fd)
        for number in (signal.SIGHUP, signal.SIGKILL):
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                break
            if self._gone():
                return

    def _gone(self):
        handle = os.pidfd_open(self.pid)
        try:
            if not select.select([handle], [], [], 2.0)[0]:
                return False
            os.waitpid(self.pid, 0)
            return True
        finally:
            os.close(handle)

    def type(self, keys):
        """Press keys; gives the time just before."""
        now = time.perf_counter()
        os.write(self.fd, keys.encode())
        return now

    def expect(self, text):
        """Wait until ``text`` is painted; gives the time. Blanks do not count: they may be painted as cursor moves."""
        wanted = text.encode().replace(b" ", b"")
        deadline = time.perf_counter() + PATIENCE
        looked = 0
        while wanted not in ESCAPES.sub(b"", self.raw[looked:]).replace(b" ", b""):
            looked = max(looked, len(self.raw) - OVERLAP)
            if time.perf_counter() > deadline or not self._read(1.0):
                raise SystemExit(f"bench: {self.argv[0]} does not show {text!r} but {self.screen()[-300:]!r}")
        return time.perf_counter()

    def ended(self):
        """Wait until the program has ended; gives the time."""
        while self._read(PATIENCE):
            pass
        return time.perf_counter()

    def settle(self):
        """Let the program finish painting and forget what it painted."""
        while select.select([self.fd], [], [], QUIET)[0] and self._read(0):
            pass
        self.raw, self.answered = b"", 0

    def screen(self):
        """What was written since the last ``settle``, without escape sequences."""
        return ESCAPES.sub(b"", self.raw)

    def _read(self, seconds):
        """Take what comes within ``seconds``, answer questions for the cursor's position; False: the program ended."""
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                data = os.read(self.fd, 65_536)
            except OSError:
                return False
            if not data:
                return False
            self.raw += data
            asked = self.raw.count(ASKS_POSITION)
            os.write(self.fd, POSITION * (asked - self.answered))
            self.answered = asked
        return True

"""The terminal between two prompts: nothing that is typed meanwhile is lost or shown, and Ctrl-C still interrupts."""

from __future__ import annotations

import os
import select
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LFLAG, CC = 3, 6
ESCAPE_WAIT = 0.05
"""Seconds in which the rest of a key that sends several bytes has come."""


class Keyboard:
    """Standard input as a terminal."""

    def __init__(self, fd: int | None = None) -> None:
        self._fd = sys.stdin.fileno() if fd is None else fd

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """No echo and no lines of the terminal's own, so that what is typed ahead waits for the next prompt."""
        before = termios.tcgetattr(self._fd)
        mode = termios.tcgetattr(self._fd)
        mode[LFLAG] &= ~(termios.ECHO | termios.ICANON)
        mode[CC][termios.VSUSP] = b"\0"
        mode[CC][termios.VMIN], mode[CC][termios.VTIME] = 1, 0
        with self._set(mode, before):
            yield

    @contextmanager
    def plain(self) -> Iterator[None]:
        """As a program expects it that takes the terminal over."""
        before = termios.tcgetattr(self._fd)
        mode = termios.tcgetattr(self._fd)
        mode[LFLAG] |= termios.ECHO | termios.ICANON | termios.ISIG
        mode[CC][termios.VSUSP] = b"\x1a"
        with self._set(mode, before):
            yield

    @contextmanager
    def _set(self, mode: list[Any], before: list[Any]) -> Iterator[None]:
        termios.tcsetattr(self._fd, termios.TCSADRAIN, mode)
        try:
            yield
        finally:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, before)

    def key(self, seconds: float | None = None) -> str:
        r"""The next key: a character, or the bytes of a longer one; "" when none comes within ``seconds``.

        KeyboardInterrupt for Ctrl-C; "\x04" when the terminal has gone.
        """
        if not select.select([self._fd], [], [], seconds)[0]:
            return ""
        data = os.read(self._fd, 1)
        while select.select([self._fd], [], [], ESCAPE_WAIT if data[:1] == b"\x1b" else 0)[0] and data[:1] == b"\x1b":
            more = os.read(self._fd, 1)
            data += more
            if not more or (len(data) > 2 and 64 <= more[0] <= 126):
                break
        return data.decode("utf-8", "replace") if data else "\x04"

"""A picture that fills the terminal and is drawn again and again, and the keys that are pressed meanwhile."""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import tty
from typing import Any

ENTER, LEAVE, HOME, REST, LINE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l", "\x1b[H", "\x1b[J", "\x1b[K"
NO_KEYBOARD = "q"
"""The answer where nobody can press a key: one picture is enough."""
ARROWS = {"\x1b[C": "right", "\x1b[D": "left", "\x1b[A": "up", "\x1b[B": "down"}


class LiveScreen:
    """Takes the terminal over with the first picture, and gives it back in ``close``."""

    def __init__(self) -> None:
        self._before: Any = None

    def show(self, text: str, seconds: float) -> str:
        """Draw, and wait for a key: its letter, "left", "right" ..., "" for none in time."""
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            print(text, flush=True)
            return NO_KEYBOARD
        if self._before is None:
            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
            sys.stdout.write(ENTER)
        columns, rows = shutil.get_terminal_size()
        lines = [line[:columns] + LINE for line in text.split("\n")[: rows - 1]]
        sys.stdout.write(HOME + "\r\n".join(lines) + "\r\n" + REST)
        sys.stdout.flush()
        return self._key(seconds)

    @staticmethod
    def _key(seconds: float) -> str:
        if not select.select([sys.stdin], [], [], seconds)[0]:
            return ""
        data = os.read(sys.stdin.fileno(), 16).decode("utf-8", "replace")
        return ARROWS.get(data, data[:1])

    def close(self) -> None:
        """The terminal as it was."""
        if self._before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
            self._before = None
            sys.stdout.write(LEAVE)
            sys.stdout.flush()

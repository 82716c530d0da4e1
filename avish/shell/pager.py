"""Long answers page by page."""

from __future__ import annotations

from collections.abc import Callable

from avish.shell.keyboard import Keyboard

ERASE = "\r\x1b[K"
MORE = "--More-- (blank: next page, Enter: next line, G: to the end, q: no more)"
QUIT = frozenset({"q", "Q", "\x04", "\x1b"})
PAGE = frozenset({" ", "f", "\x1b[6~"})
LINE = frozenset({"\r", "\n", "j", "\x1b[B"})
ALL = frozenset({"G", "\x1b[F"})
Size = Callable[[], tuple[int, int]]
"""Columns and lines of the terminal, which may change at any time."""


class Pager:
    """``ahead``: what was typed in place of an answer, for the next prompt."""

    def __init__(self, write: Callable[[str], None], size: Size, keyboard: Keyboard) -> None:
        self._write, self._size, self._keyboard = write, size, keyboard
        self.ahead = ""

    def show(self, text: str, length: int | None) -> bool:
        """False when the user has seen enough. ``length``: lines of a page; None: as many as the terminal has."""
        lines = text.split("\n")
        room = self._room(length)
        if length == 0 or sum(map(self._rows, lines)) <= room:
            self._write(text + "\n")
            return True
        at = 0
        while at < len(lines):
            end = self._end(lines, at, room)
            self._write("\n".join(lines[at:end]) + "\n")
            at = end
            if at < len(lines):
                room = self._asked(length)
                if not room:
                    return False
        return True

    def _room(self, length: int | None) -> int:
        """Rows of a page, one being left for the question."""
        return max(2, length or self._size()[1]) - 1

    def _rows(self, line: str) -> int:
        """So many rows a line takes; a picture of colours takes none."""
        return max(1, -(-len(line) // max(1, self._size()[0])))

    def _end(self, lines: list[str], at: int, room: int) -> int:
        """Behind the last line that fits on the page that begins ``at``."""
        end, left = at, room
        while end < len(lines) and (left >= self._rows(lines[end]) or end == at):
            left -= self._rows(lines[end])
            end += 1
        return end

    def _asked(self, length: int | None) -> int:
        """So many rows the user wants next; 0: none."""
        self._write(MORE)
        try:
            while True:
                key = self._keyboard.key()
                if key in QUIT:
                    return 0
                if key in LINE:
                    return 1
                if key in ALL:
                    return 2**31
                if key in PAGE:
                    return self._room(length)
                if key.isprintable():  # the next command: who types it has seen enough
                    self.ahead = key
                    return 0
        except KeyboardInterrupt:
            return 0
        finally:
            self._write(ERASE)

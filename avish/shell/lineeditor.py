"""One typed line as machines want it: every character back exactly once, nothing painted anew. Bytes in, text out."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass, field

LIMIT = 65_536
"""Characters of a line; what is typed beyond that is dropped with a bell."""
UTF8 = codecs.getincrementaldecoder("utf-8")
BELL = "\a"
ERASE = "\b \b"
ERASING: dict[str, Callable[[str], int]] = {
    "\x08": lambda _: 1,
    "\x7f": lambda _: 1,
    "\x15": len,
    "\x17": lambda text: len(text) - len(text.rstrip().rpartition(" ")[0]),
}
"""How many characters a key takes away."""
Question = Callable[[str, str], tuple[str, str]]
"""From the key (TAB or ``?``) and the line so far to (what to insert, a listing to show)."""


class Interrupted(Exception):  # noqa: N818  (it is no error: somebody pressed Ctrl-C)
    """Ctrl-C: the line is given up."""


@dataclass
class LineEditor:
    """Feed it bytes; ``line`` comes when one is whole. ``echo``: where characters go back to."""

    echo: Callable[[str], None]
    question: Question
    hidden: bool = False
    """What is typed is not echoed."""
    text: str = ""
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )
    _escape: str = ""
    _last: str = ""
    _data: bytes = b""
    _taken: int = 0

    @property
    def left(self) -> bytes:
        """What is behind the key that was taken last, also when that raised."""
        return self._data[self._taken :]

    def feed(self, data: bytes, prompt: str) -> tuple[str | None, bytes]:
        """(the line, or None while it is not whole, what is left of ``data``). Interrupted, or EOFError for Ctrl-D."""
        self._data = data
        for place in range(len(data)):
            self._taken = place + 1
            char = self._decoder.decode(data[place : place + 1])
            if char and self._key(char, prompt):
                line, self.text = self.text, ""
                return line, self.left
        return None, b""

    def _key(self, char: str, prompt: str) -> bool:
        """Whether the line is whole."""
        last, self._last = self._last, char
        if self._escape or char == "\x1b":
            self._escape_sequence(char)
        elif char in "\r\n":
            if char == "\n" and last == "\r":
                return False
            self.echo("\r\n")
            return True
        elif char in ERASING:
            self._erase(ERASING[char](self.text))
        elif char in "\x03\x04":
            self._give_up(char)
        elif char in "\t?" and not self.hidden:
            self._ask(char, prompt)
        elif char.isprintable():
            self._insert(char)
        return False

    def _give_up(self, char: str) -> None:
        """Ctrl-C drops the line, Ctrl-D ends the session where there is none."""
        if char == "\x03":
            self.text = ""
            self.echo("^C\r\n")
            raise Interrupted
        if not self.text:
            raise EOFError

    def _escape_sequence(self, char: str) -> None:
        """Arrow keys and late answers of the terminal are passed over."""
        self._escape += char
        begun = self._escape in ("\x1b", "\x1b[", "\x1bO")
        if not begun and ("@" <= char <= "~" or len(self._escape) > 32):
            self._escape = ""

    def _erase(self, count: int) -> None:
        count = min(count, len(self.text))
        self.text = self.text[: len(self.text) - count]
        if not self.hidden:
            self.echo(ERASE * count)

    def _insert(self, text: str) -> None:
        if len(self.text) + len(text) > LIMIT:
            self.echo(BELL)
            return
        self.text += text
        if not self.hidden:
            self.echo(text)

    def _ask(self, key: str, prompt: str) -> None:
        more, listing = self.question(key, self.text)
        if listing:
            shown = listing.replace("\n", "\r\n")
            self.echo(f"{key if key == '?' else ''}\r\n{shown}\r\n{prompt}{self.text}")
        self._insert(more)

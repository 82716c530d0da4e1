"""Lines judged without a controller: syntax, types and modes (``--parse-only``)."""

from __future__ import annotations

from typing import Any

from avish.errors import ParseError
from avish.lang import secrets
from avish.lang.tree import Tree
from avish.lang.walk import parse
from avish.schema.model import Field, Message

ENDS_SESSION = {"transactions.begin": True, "transactions.commit": False}
"""Whether a session is open behind a command."""


class Checker:
    """Follows the modes of a runbook; names of objects are not looked up."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._session = False
        self._names: list[str] = []
        self._modes: list[Message] = []
        self.shown = ""
        """The line that was checked last, without secrets."""
        self.block: list[str] = []
        """The same of its block."""

    @property
    def mode(self) -> str:
        """``pool:servers``, "" at the top."""
        return ":".join([*(["session"] if self._session else []), *self._names])

    @property
    def modes(self) -> list[Message]:
        """The messages of the open modes."""
        return self._modes

    def check(self, line: str, block: str | None = None, number: int = 0) -> dict[str, Any]:
        """``{"ok": True, "mode": ..}`` or ``{"ok": False, "error": .., "expected": [..]}``; ``block``: its lines.

        ``number``: that of the line, for errors in its block.
        """
        text = line.strip()
        lines = [] if block is None else block.split("\n")
        self.shown, self.block = line, lines
        frames = self._modes
        if text and text[0] != "#":
            try:
                walk = parse(self.tree, self._modes, line.rstrip("\r\n"), block=block)
            except ParseError as error:
                self.shown = secrets.without(self.tree, frames, line) or secrets.guessed([line])[0]
                self.block = secrets.guessed(lines)
                texts = [
                    f"line {number + one.row}: {one.text}" if one.row else one.text for one in (error, *error.more)
                ]
                return {"ok": False, "error": "\n".join(texts), "expected": list(error.expected)}
            if found := set(secrets.said(self.tree, walk.ops)):
                self.shown = secrets.without(self.tree, frames, line)
                self.block = secrets.block_without(lines, found)
            for op in walk.ops:
                self._follow(op[0], op[1] if len(op) > 1 else None)
        return {"ok": True, "mode": self.mode}

    def _follow(self, kind: str, what: Any) -> None:
        if kind == "open":
            self._names, self._modes = [what], [self.tree.schema.object(what)]
        elif kind == "enter" and isinstance(what, Field):
            self._names.append(what.name)
            self._modes.append(what.nested)
        elif kind in ("save", "cancel", "exit"):
            self._leave()
        elif kind == "run" and what.does in ENDS_SESSION and not self._modes:
            self._session = ENDS_SESSION[what.does]

    def _leave(self) -> None:
        if self._modes:
            self._names.pop()
            self._modes.pop()
        else:
            self._session = False

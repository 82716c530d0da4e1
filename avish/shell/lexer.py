"""The line being typed, in colours, and secrets on it as stars."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.lexers import Lexer

from avish.lang import secrets
from avish.lang.highlight import marks
from avish.lang.tree import Tree
from avish.schema.model import Message
from avish.schema.types import SENSITIVE

STAR = "*"


class LineLexer(Lexer):
    """``frames``: the modes that are open."""

    def __init__(self, tree: Tree, frames: Callable[[], Sequence[Message]]) -> None:
        self._tree, self._frames = tree, frames

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        """The parts of a line with their styles."""
        lines = document.lines
        return lambda number: self.parts(lines[number]) if number < len(lines) else []

    def parts(self, line: str) -> StyleAndTextTuples:
        """The same of one line."""
        found: StyleAndTextTuples = []
        at = 0
        for mark in marks(self._tree, self._frames(), line):
            text = line[mark.start : mark.end]
            if mark.kind == "secret":
                text = STAR * len(text)
            found += [("", line[at : mark.start]), (f"class:{mark.kind}", text)]
            at = mark.end
        return [*found, ("", line[at:])]

    def hidden(self, line: str) -> str:
        """``line`` with its secrets as stars."""
        return "".join(part[1] for part in self.parts(line))


class BlockLexer(Lexer):
    """A line of a block, with stars for what may be a secret. ``before``: the lines of the block so far."""

    def __init__(self, before: Sequence[str]) -> None:
        self._before = before

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        """The one line there is."""
        return lambda number: [("", self.hidden(document.lines[number]))]

    def hidden(self, line: str) -> str:
        """``line`` as it is shown, character for character."""
        known = secrets.guessed([*self._before, line])[-1]
        plain = len(known.removesuffix(SENSITIVE)) if known != line else len(line)
        return line[:plain] + STAR * (len(line) - plain)

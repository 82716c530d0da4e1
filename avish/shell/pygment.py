"""Runbooks in colour wherever Pygments colours code: manuals, editors, pages. Made from the grammar like all else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pygments.lexer import Lexer
from pygments.token import Comment, Error, Keyword, Name, Number, Operator, String, Text, _TokenType

from avish.lang.check import Checker
from avish.lang.highlight import marks
from avish.lang.tree import Tree
from avish.schema.load import schema

TOKENS: dict[str, _TokenType] = {
    "comment": Comment,
    "field": Name.Attribute,
    "name": Name.Variable,
    "number": Number,
    "pipe": Operator,
    "secret": String.Other,
    "type": Name.Class,
    "value": String,
    "verb": Keyword,
    "wrong": Error,
}
"""By kind of word."""


class RunbookLexer(Lexer):
    """``pygmentize -l avish runbook.avi``."""

    name = "avish"
    aliases: ClassVar[list[str]] = ["avish"]
    filenames: ClassVar[list[str]] = ["*.avi"]

    def get_tokens_unprocessed(self, text: str) -> Iterator[tuple[int, _TokenType, str]]:
        """Position, kind and text of each piece; the modes are followed from line to line."""
        checker = Checker(Tree(schema()))
        at = 0
        for line in text.splitlines(keepends=True):
            bare = line.rstrip("\r\n")
            yield from self._line(checker, bare, at)
            yield at + len(bare), Text, line[len(bare) :]
            checker.check(bare)
            at += len(line)

    @staticmethod
    def _line(checker: Checker, line: str, start: int) -> Iterator[tuple[int, _TokenType, str]]:
        at = 0
        for mark in marks(checker.tree, checker.modes, line):
            yield start + at, Text, line[at : mark.start]
            yield start + mark.start, TOKENS[mark.kind], line[mark.start : mark.end]
            at = mark.end
        yield start + at, Text, line[at:]

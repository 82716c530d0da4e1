"""Lines that go on: ``configure pool p1 << END`` and ``field --`` take the lines behind them, up to a last one."""

from __future__ import annotations

from dataclasses import dataclass

from avish.errors import ParseError
from avish.lang.lex import Token, lex

END = "END"


@dataclass(frozen=True, slots=True)
class Block:
    """``end``: the line that ends the block. ``start``: where on its line the block is announced."""

    end: str
    start: int
    field: str = ""
    """The field whose value follows; "": an object does."""


def wanted(line: str) -> Block | None:
    """The block that a line announces, or None."""
    if "<<" not in line and "--" not in line:
        return None
    try:
        tokens = lex(line).tokens
    except ParseError:
        return None
    return announced(tokens)


def announced(tokens: tuple[Token, ...]) -> Block | None:
    """The same of the tokens of a line."""
    if len(tokens) > 2 and _is(tokens[-2], "<<"):
        return Block(tokens[-1].text, tokens[-2].start)
    if len(tokens) > 1 and _is(tokens[-1], "--"):
        return Block(END, tokens[-1].start, tokens[-2].text)
    if len(tokens) > 2 and _is(tokens[-2], "--"):
        return Block(tokens[-1].text, tokens[-2].start, tokens[-3].text)
    return None


def _is(token: Token, text: str) -> bool:
    return token.text == text and not token.quoted

"""What each word of a line is, for colours: the walk seen word by word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from avish.errors import ParseError
from avish.lang.lex import Token, lex
from avish.lang.tail import FLAGS, PIPES
from avish.lang.tree import Node, Tree, Value
from avish.lang.walk import NAMING, trail
from avish.schema.model import Message
from avish.schema.types import Number, Ref, Secret

Kind = Literal["comment", "field", "name", "number", "pipe", "secret", "type", "value", "verb", "wrong"]
ARGUMENT: Kind = "value"


@dataclass(frozen=True, slots=True)
class Mark:
    """``kind`` of the characters from ``start`` to ``end``; "wrong" for the first word that fits nowhere."""

    start: int
    end: int
    kind: Kind


def marks(tree: Tree, frames: Sequence[Message], line: str) -> list[Mark]:
    """The marks of a line as it is being typed where ``frames`` are open. Never raises.

    The last word is not wrong while it may become right. Behind a wrong word nothing is marked.
    """
    if line.lstrip().startswith("#"):
        return [Mark(0, len(line), "comment")]
    try:
        tokens = lex(line, partial=True).tokens
    except ParseError as error:
        return [Mark(error.start, error.end, "wrong")]
    bar = next((n for n, token in enumerate(tokens) if token.text == "|" and not token.quoted), len(tokens))
    found = _command(tree, frames, tokens[:bar], typing=bool(tokens) and tokens[-1].end == len(line))
    return found if found and found[-1].kind == "wrong" else [*found, *_tail(tokens[bar:])]


def _command(tree: Tree, frames: Sequence[Message], tokens: Sequence[Token], *, typing: bool) -> list[Mark]:
    end = next((number for number, token in enumerate(tokens) if _leads_away(token)), len(tokens))
    found: list[Mark] = []
    for stop in trail(tree, frames, tokens[:end]):
        token = stop.token
        if not stop.fits:
            last = typing and token is tokens[-1]  # may still become a word
            return found if last else [*found, Mark(token.start, token.end, "wrong")]
        kind = _value(stop.value) if stop.value is not None else _word(tree, stop.node, token.text)
        found.append(Mark(token.start, token.end, kind))
    return [*found, *(Mark(token.start, token.end, _away(token)) for token in tokens[end:])]


def _leads_away(token: Token) -> bool:
    """Whether something stands here that the tree does not know: ``--json``, ``--path value``, ``<< END``."""
    return not token.quoted and (token.text == "<<" or (token.text.startswith("--") and token.text != "--"))


def _away(token: Token) -> Kind:
    if token.quoted:
        return ARGUMENT
    if token.text in (*FLAGS, "<<"):
        return "pipe"
    return "field" if token.text.startswith("--") else ARGUMENT


def _value(value: Value) -> Kind:
    if isinstance(value.type, Secret):
        return "secret"
    if value.op[0] in NAMING or isinstance(value.type, Ref):
        return "name"
    return "number" if isinstance(value.type, Number) else ARGUMENT


def _word(tree: Tree, before: Node, word: str) -> Kind:
    if before in tree.nouns:
        return "type"
    if (before.fields or before.negates or before.fall is not None) and word not in tree.root.words:
        return "field"
    return "verb"


def _tail(tokens: Sequence[Token]) -> list[Mark]:
    found: list[Mark] = []
    for number, token in enumerate(tokens):
        bar = token.text == "|" and not token.quoted
        head = number > 0 and tokens[number - 1].text == "|" and token.text in PIPES
        found.append(Mark(token.start, token.end, "pipe" if bar or head else ARGUMENT))
    return found

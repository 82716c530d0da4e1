"""What may stand at the cursor: for TAB and ``?``. What is offered here, the walk accepts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from avish.errors import ParseError
from avish.lang.lex import Token, lex, quote
from avish.lang.tail import PIPES
from avish.lang.tree import Node, Tree, Value
from avish.lang.walk import follow, offered
from avish.schema import types
from avish.schema.model import Message

Names = Callable[[str], Sequence[str]]
"""The names of the objects of a type, from whoever knows them."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """``text`` may stand from ``start`` to the cursor; ``literal`` False: it only describes a value."""

    text: str
    help: str
    start: int
    literal: bool = True


def complete(tree: Tree, frames: Sequence[Message], before: str, names: Names) -> list[Suggestion]:
    """The suggestions for a cursor behind ``before``; none where the line already went wrong."""
    try:
        lexed = lex(before, partial=True)
        tokens = list(lexed.tokens)
        typing = bool(tokens) and tokens[-1].end == len(before) and not _is_pipe(tokens[-1])
        last = tokens.pop() if typing else None
        start = last.start if last else len(before)
        if any(_is_pipe(token) for token in tokens):
            return _behind_pipe(_is_pipe(tokens[-1]), last.text if last else "", start)
        node = follow(tree, frames, tokens, line=before).node
    except ParseError:
        return []
    found = _at(node, last.text if last else "", start, quoted=bool(last and last.quoted), names=names)
    if tokens and not last and node.end is not None:
        found.append(Suggestion("<cr>", "End of the command", start, literal=False))
    return found


def _is_pipe(token: Token) -> bool:
    return token.text == "|" and not token.quoted


def _behind_pipe(first: bool, typed: str, start: int) -> list[Suggestion]:  # noqa: FBT001
    if not first:
        return [] if typed else [Suggestion("WORD", "What to look for; options as grep's", start, literal=False)]
    return [Suggestion(w, text, start) for w, text in PIPES.items() if w.startswith(typed)]


def _at(node: Node, typed: str, start: int, *, quoted: bool, names: Names) -> list[Suggestion]:
    found = []
    if not quoted:
        found = [Suggestion(word, step.help, start) for word, step in offered(node).items() if word.startswith(typed)]
    if node.value is not None:
        found += _values(node.value, typed, start, names)
    return found


def _values(value: Value, typed: str, start: int, names: Names) -> list[Suggestion]:
    words: Sequence[str] = value.type.words() or (names(value.names) if value.names else ())
    default = value.default.lower()
    found = [
        Suggestion(quote(word), "default" if word.lower() == default else "", start)
        for word in words
        if word.startswith(typed.lower() if value.type.words() else typed)
    ]
    if typed and (found or value.type.words()):
        return found
    return [Suggestion(value.type.label, describe(value), start, literal=False), *found]


def describe(value: Value) -> str:
    """Help, form, range and default of a value in one line."""
    if isinstance(value.type, types.Name):
        return value.help
    form = "one of these" if value.type.words() else value.type.describe()
    default = f"; default {value.default}" if value.default else ""
    return f"{value.help} ({form}{default})"

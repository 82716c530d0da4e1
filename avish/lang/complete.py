"""What may stand at the cursor: for TAB and ``?``. What is offered here, the walk accepts."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from avish.errors import ParseError
from avish.lang.lex import Token, lex, quote
from avish.lang.tail import FLAGS, PIPES
from avish.lang.tree import Node, Tree, Value
from avish.lang.walk import follow, offered
from avish.schema import types
from avish.schema.model import Message, ObjectType

Names = Callable[[str], Sequence[str]]
"""The names of the objects of a type, sorted, from whoever knows them."""
MANY = 300
"""Names that are suggested one by one; of more, the first and the last, which tells what all begin with."""


class Suggestion(NamedTuple):
    """``text`` may stand from ``start`` to the cursor; ``literal`` False: it only describes a value."""

    text: str
    help: str
    start: int
    literal: bool = True


class Suggestions(list[Suggestion]):
    """``more``: how many names stand between the last but one and the last."""

    more: int = 0


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
        if not frames and (kind := _given_whole(tree, [*tokens, *([last] if last else [])], before)):
            return _paths(kind, before, start, names)
        node = follow(tree, frames, tokens, line=before).node
    except ParseError:
        return []
    found = _at(node, last.text if last else "", start, quoted=bool(last and last.quoted), names=names)
    if tokens and last and node.end is not None:
        found += [Suggestion(flag, text, start) for flag, text in FLAGS.items() if _begun(flag, last)]
    if tokens and not last and node.end is not None:
        found.append(Suggestion("<cr>", "End of the command", start, literal=False))
    return found


def _given_whole(tree: Tree, tokens: Sequence[Token], line: str) -> ObjectType | None:
    """The object type of a line that gives an object by paths (``configure pool p1 --``), else None."""
    first = next((number for number, token in enumerate(tokens) if _is_path(token)), 0)
    if not first or tokens[0].text not in ("configure", "debug"):
        return None
    walk = follow(tree, [], tokens[:first], line=line)
    opening = walk.node.leave if not walk.ops else walk.ops[0] if len(walk.ops) == 1 else None
    if walk.node.end is None:
        return None
    return tree.schema.object(opening[1]) if opening is not None and opening[0] == "open" else None


def _is_path(token: Token) -> bool:
    return token.text.startswith("-") and not token.quoted and not token.text[1:2].isdigit()


def _paths(kind: ObjectType, before: str, start: int, names: Names) -> list[Suggestion]:
    from avish.lang import flags_complete  # start-up pays for every import

    first = next(token.start for token in lex(before, partial=True).tokens if _is_path(token))
    offers = flags_complete.complete(kind, before[first:], names)
    return [Suggestion(text or "VALUE", help_text, start, literal=bool(text)) for text, help_text in offers]


def _begun(flag: str, token: Token) -> bool:
    return token.text.startswith("-") and flag.startswith(token.text) and not token.quoted


def _is_pipe(token: Token) -> bool:
    return token.text == "|" and not token.quoted


def _behind_pipe(first: bool, typed: str, start: int) -> list[Suggestion]:  # noqa: FBT001
    if not first:
        return [] if typed else [Suggestion("WORD", "What to look for; options as grep's", start, literal=False)]
    return [Suggestion(w, text, start) for w, text in PIPES.items() if w.startswith(typed)]


def _at(node: Node, typed: str, start: int, *, quoted: bool, names: Names) -> list[Suggestion]:
    found = Suggestions()
    if not quoted:
        found += [Suggestion(word, step.help, start) for word, step in offered(node).items() if word.startswith(typed)]
    if node.value is not None:
        _values(found, node.value, typed, start, names)
    return found


def _values(found: Suggestions, value: Value, typed: str, start: int, names: Names) -> None:
    choice = value.type.words()
    begun: Sequence[str] = [word for word in choice if word.startswith(typed.lower())] if choice else []
    if not choice and value.names:
        begun, found.more = _begun_names(names(value.names), typed)
    if not typed or not (begun or choice):
        found.append(Suggestion(value.type.label, describe(value), start, literal=False))
    default = value.default.lower()
    found += [Suggestion(quote(word), "default" if word.lower() == default else "", start) for word in begun]


def _begun_names(names: Sequence[str], typed: str) -> tuple[Sequence[str], int]:
    """Those that begin like this, and how many of them are not given because they are too many."""
    if len(names) <= MANY:
        return [name for name in names if name.startswith(typed)], 0
    first = bisect_left(names, typed)
    last = bisect_left(names, True, first, key=lambda name: not name.startswith(typed))
    if last - first <= MANY:
        return names[first:last], 0
    return [*names[first : first + MANY - 1], names[last - 1]], last - first - MANY


def describe(value: Value) -> str:
    """Help, form, range and default of a value in one line."""
    if isinstance(value.type, types.Name):
        return value.help
    form = "one of these" if value.type.words() else value.type.describe()
    default = f"; default {value.default}" if value.default else ""
    return f"{value.help} ({form}{default})"

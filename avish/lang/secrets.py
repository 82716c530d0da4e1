"""Lines without the secrets that stand on them, for whoever keeps lines."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Sequence

from avish.errors import ParseError
from avish.lang.flags_complete import descend
from avish.lang.lex import Token, lex
from avish.lang.tree import Node, Tree
from avish.lang.walk import follow, offered, trail
from avish.schema.model import Message
from avish.schema.types import SENSITIVE, Secret

SUSPICIOUS = ("pass", "secret", "key", "token")
"""Parts of the names of fields that hold secrets."""


def without(tree: Tree, frames: Sequence[Message], line: str) -> str:
    """``line`` with the placeholder in place of each secret; typed again it keeps the secret there is.

    "" for what is no line at all.
    """
    try:
        tokens = lex(line, partial=True).tokens
    except ParseError:
        return ""
    found = {*_typed(tree, frames, tokens), *_behind_paths(tree, tokens)}
    for token in sorted(found, key=lambda token: token.start, reverse=True):
        line = line[: token.start] + SENSITIVE + line[token.end :]
    return line


def _typed(tree: Tree, frames: Sequence[Message], tokens: Sequence[Token]) -> Iterator[Token]:
    """The secrets among the words; also what stands behind a misspelled field of a secret."""
    for number, stop in enumerate(trail(tree, frames, tokens)):
        if not stop.fits:
            if _meant(stop.node, stop.token.text):
                yield from tokens[number + 1 : number + 2]
        elif stop.value is not None and isinstance(stop.value.type, Secret) and stop.token.text != "--":
            yield stop.token


def _meant(node: Node, word: str) -> bool:
    """Whether a word that fits nowhere is nearly the name of a secret's field."""
    fields = [name for name, step in offered(node).items() if step.op is None and _holds_secret(step.node)]
    return bool(difflib.get_close_matches(word, fields, n=1))


def _holds_secret(node: Node) -> bool:
    return node.value is not None and isinstance(node.value.type, Secret)


def _behind_paths(tree: Tree, tokens: Sequence[Token]) -> Iterator[Token]:
    """The values of ``--path.to.password``."""
    first = next((number for number, token in enumerate(tokens) if token.text.startswith("--")), 0)
    try:
        frames = follow(tree, [], tokens[:first], line="", abbreviate=True).frames
    except ParseError:
        frames = []
    for path, value in itertools.pairwise(tokens[first:]):
        if path.text.startswith("--") and not value.text.startswith("--") and _is_secret(frames, path.text[2:]):
            yield value


def _is_secret(frames: Sequence[Message], path: str) -> bool:
    """Whether a path leads to a secret, or may have been meant to."""
    item = descend(frames[0], path.split("."))[1] if frames else None
    if item is None:
        return any(part in path.rpartition(".")[2] for part in SUSPICIOUS)
    return isinstance(item.type, Secret)

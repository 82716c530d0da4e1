"""Lines without the secrets that stand on them, for whoever keeps lines."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from avish.errors import ParseError
from avish.lang.flags_complete import descend
from avish.lang.lex import LINE_LIMIT, Token, lex
from avish.lang.tree import Node, Op, Tree
from avish.lang.walk import follow, masked, offered, trail
from avish.schema.model import Message
from avish.schema.types import SENSITIVE, Secret

SUSPICIOUS = ("pass", "secret", "key", "token")
"""Parts of the names of fields that hold secrets."""
_SOUNDS = re.compile(rf"\w*(?:{'|'.join(SUSPICIOUS)}|community)\w*[\"']?(?:\s*:|\s)\s*", re.IGNORECASE)
BLANK = {ord(char): " " for char in "\n\r\v\f"}


def without(tree: Tree, frames: Sequence[Message], line: str) -> str:
    """``line`` with the placeholder in place of each secret; typed again it keeps the secret there is.

    "" for what is no line at all.
    """
    try:
        lex(line, partial=True)
    except ParseError:
        return ""
    for start, end in reversed(places(tree, frames, line)):
        line = line[:start] + SENSITIVE + line[end:]
    return line


def mask(tree: Tree, frames: Sequence[Message], line: str, error: ParseError) -> None:
    """Make the secrets on a refused line unreadable in what is said of it; every place stays where it is."""
    if not error.line or not line.startswith(error.line):
        return  # it shows another line than this one, whose own reader has masked it
    found = places(tree, frames, line)
    if any(start < error.end and error.start < end for start, end in found):
        word = line[error.start : error.end]
        error.text = error.text.replace(word, "*" * len(word))
        error.args = (error.text,)
    error.line = masked(line, found)[: len(error.line)]


def places(tree: Tree, frames: Sequence[Message], line: str) -> list[tuple[int, int]]:
    """Where secrets stand on a line, whatever else is wrong with it."""
    plain = "".join(char if char.isprintable() or char.isspace() else "?" for char in line[:LINE_LIMIT])
    tokens = lex(plain.translate(BLANK), partial=True).tokens
    found = {*_typed(tree, frames, tokens), *_behind_paths(tree, tokens)}
    return sorted((token.start, _end(tokens, token, len(line))) for token in found)


def _end(tokens: Sequence[Token], secret: Token, end: int) -> int:
    """The end of a secret; a bar that touches it was meant to be part of it, and so was what follows."""
    at = secret.end
    for token in tokens:
        at = token.end if token.start == at else at
    return end if at == LINE_LIMIT else at


def said(tree: Tree, ops: Sequence[Op]) -> Iterator[str]:
    """The secrets that a line and its block set."""
    kind = next((tree.schema.object(op[1]) for op in ops if op[0] == "open"), None)
    for op in ops:
        if op[0] == "set" and isinstance(op[1].type, Secret):
            yield str(op[2])
        elif op[0] == "body" and kind is not None:
            yield from _inside(kind, op[1])


def _inside(message: Message, body: Mapping[str, Any]) -> Iterator[str]:
    for name, value in body.items():
        item = message.fields.get(name)
        for one in value if isinstance(value, list) else [value]:
            if item is not None and isinstance(item.type, Secret):
                yield str(one)
            elif item is not None and item.message is not None:
                yield from _inside(item.message, one)


def block_without(lines: Sequence[str], found: Collection[str]) -> list[str]:
    """The lines without these secrets; without all that could be one, where one of them is not written as it is."""
    parts = {part.strip() for text in found for part in text.split("\n") if part.strip()}
    whole = "\n".join(lines)
    if any(part not in whole for part in parts):
        return guessed(lines)
    one_of = re.compile("|".join(re.escape(part) for part in sorted(parts, key=len, reverse=True)) or "(?!)")
    return [one_of.sub(SENSITIVE, line) for line in lines]


def guessed(lines: Sequence[str]) -> list[str]:
    """The lines of what was refused, without all that stands behind a word that sounds like a secret's field.

    A value that goes on takes what follows with it.
    """
    result, open_ended = [], False
    for line in lines:
        match = _SOUNDS.search(line)
        if open_ended:
            result.append(SENSITIVE)
        elif match is None:
            result.append(line)
        else:
            result.append(f"{line[: match.end()]}{SENSITIVE}")
            rest = line[match.end() :].strip()
            open_ended = not rest or rest[0] in "|>\"'" or rest.startswith("--")
    return result


def _typed(tree: Tree, frames: Sequence[Message], tokens: Sequence[Token]) -> Iterator[Token]:
    """The secrets among the words; also what stands behind a misspelled field of a secret."""
    for number, stop in enumerate(trail(tree, frames, tokens)):
        if not stop.fits:
            yield from _behind(stop.node, tokens[number:])
        elif stop.value is not None and isinstance(stop.value.type, Secret) and stop.token.text != "--":
            yield stop.token


def _behind(node: Node, tokens: Sequence[Token]) -> Iterator[Token]:
    """The secrets from a word on that fits nowhere, at ``node``."""
    if _meant(node, tokens[0].text):
        yield from tokens[1:2]
    for word, value in itertools.pairwise(itertools.takewhile(lambda token: token.text != "|", tokens)):
        if not word.quoted and any(part in word.text for part in SUSPICIOUS):
            yield value


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

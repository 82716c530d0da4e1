"""Lines as they were typed, turned into a script: words written out, secrets as their placeholder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from avish.errors import ParseError
from avish.lang import blocks, secrets
from avish.lang.blocks import Block
from avish.lang.lex import lex, quote
from avish.lang.tree import Node, Tree
from avish.lang.typed import Typed
from avish.lang.walk import Walk, offered, parse, trail
from avish.schema.model import Message
from avish.schema.types import SENSITIVE, Secret

NOT_AGAIN = frozenset({"passwd", "history"})
"""Commands that a script had better not repeat: the first asks for secrets, the second is about the script itself."""


def runbook(tree: Tree, typed: Sequence[Typed]) -> Iterator[str]:
    """The lines of a script that does the same again."""
    for one in typed:
        announced = blocks.wanted(one.line) if one.block is not None else None
        if announced is None:
            yield from _line(tree, one)
        elif announced.field:
            yield from _value(tree, one, announced)
        else:
            yield from _object(tree, one, announced)


def _line(tree: Tree, one: Typed) -> Iterator[str]:
    line = spelled(tree, one.frames, secrets.without(tree, one.frames, one.line.strip()))
    yield f"# {line}" if line.partition(" ")[0] in NOT_AGAIN else line


def _value(tree: Tree, one: Typed, announced: Block) -> Iterator[str]:
    """A field whose value stood on lines of its own."""
    head = spelled(tree, one.frames, f"{one.line[: announced.start].strip()} x").removesuffix(" x")
    last = one.line[: announced.start].split()[-1]
    if _is_secret(tree, one, last):
        yield f"{head} {SENSITIVE}"
        return
    yield f"{head} {one.line[announced.start :].strip()}"
    yield from (one.block or "").split("\n")
    yield announced.end


def _is_secret(tree: Tree, one: Typed, last: str) -> bool:
    walk = _walk(tree, one)
    values = [op for op in walk.ops if op[0] == "set"] if walk is not None else []
    leaf = values[-1][1].leaf if values else None
    return isinstance(leaf, Secret) or (leaf is None and any(part in last for part in secrets.SUSPICIOUS))


def _object(tree: Tree, one: Typed, announced: Block) -> Iterator[str]:
    """A whole object: as YAML, or as paths that the line is repeated for to find the secrets among them."""
    head, block = one.line[: announced.start].strip(), one.block or ""
    yield f"{spelled(tree, one.frames, head)} << {announced.end}"
    if block.lstrip().startswith("--"):
        for line in block.split("\n"):
            yield secrets.without(tree, one.frames, f"{head} {line}")[len(head) + 1 :]
    else:
        yield from _yaml(tree, one).split("\n")
    yield announced.end


def _yaml(tree: Tree, one: Typed) -> str:
    from avish.lang import script

    walk = _walk(tree, one)
    if walk is None:
        return "{}"
    kind = tree.schema.object(next(op[1] for op in walk.ops if op[0] == "open"))
    body = next(op[1] for op in walk.ops if op[0] == "body")
    return script.format(kind, _masked(kind, body))


def _masked(message: Message, body: dict[str, Any]) -> dict[str, Any]:
    return {name: _masked_value(message, name, value) for name, value in body.items()}


def _masked_value(message: Message, name: str, value: Any) -> Any:
    field = message.fields.get(name)
    if field is None or value is None:
        return value
    if isinstance(value, list):
        return [_masked_value(message, name, one) for one in value]
    if field.message is not None:
        return _masked(field.message, value)
    return SENSITIVE if isinstance(field.leaf, Secret) else value


def _walk(tree: Tree, one: Typed) -> Walk | None:
    try:
        return parse(tree, one.frames, one.line, abbreviate=True, block=one.block)
    except ParseError:
        return None


def spelled(tree: Tree, frames: Sequence[Message], line: str) -> str:
    """``line`` with its abbreviations written out, for a script takes none; itself where that changes its sense."""
    try:
        tokens = lex(line).tokens
    except ParseError:
        return line
    whole = line
    for stop in reversed([*trail(tree, frames, tokens)]):
        if stop.fits and stop.value is None and not stop.token.quoted:
            word = _word(stop.node, stop.token.text)
            whole = whole[: stop.token.start] + word + whole[stop.token.end :]
    return whole if _same(tree, frames, line, whole) else line


def _word(node: Node, text: str) -> str:
    found = offered(node)
    if text in found or text in node.words:
        return text
    begun = [(word, step.vain) for word, step in found.items() if word.startswith(text)]
    sensible = [word for word, vain in begun if not vain] or [word for word, _ in begun]
    return sensible[0] if len(sensible) == 1 else text


def _same(tree: Tree, frames: Sequence[Message], line: str, whole: str) -> bool:
    if line == whole:
        return True
    try:
        return parse(tree, frames, line, abbreviate=True).ops == parse(tree, frames, whole).ops
    except ParseError:
        return False


def header(user_words: str, tenant: str) -> Iterator[str]:
    """What stands before the lines: where they were typed, and the way there."""
    yield f"# {user_words}"
    yield f"# each {SENSITIVE} stands for a secret: give it anew, or leave it where the object has it already"
    if tenant != "admin":
        yield f"switchto tenant {quote(tenant)}"

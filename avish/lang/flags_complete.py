"""TAB in linux_command_line mode: what may go on behind ``configure pool p1 --``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from avish.errors import ParseError
from avish.lang.flags import NUMBER
from avish.lang.lex import Token, lex, quote
from avish.schema.model import Field, Message, ObjectType
from avish.schema.types import Bool, Ref

Offers = list[tuple[str, str]]
"""Text and help. Text "": no word, the help describes the value."""


def nobody(_: str) -> Sequence[str]:
    """Knows of no objects."""
    return ()


def complete(object_type: ObjectType, typed: str, names: Callable[[str], Sequence[str]] = nobody) -> Offers:
    """What may stand in place of the word at the end of ``typed``, the text behind the object's name.

    ``names``: the names of the objects of a type. A path that ends with a dot goes on.
    """
    try:
        tokens = list(lex(typed, partial=True).tokens)
    except ParseError:
        return []
    last = tokens.pop() if tokens and tokens[-1].end == len(typed) else Token("", len(typed), len(typed))
    item = _awaiting(object_type, tokens[-1]) if tokens and not last.text.startswith("-") else None
    offers = _values(item, last.text, names) if item is not None else []
    if item is None or isinstance(item.type, Bool):
        offers += _paths(object_type, last.text, [token.text for token in tokens if not token.quoted])
    return offers


def _awaiting(object_type: ObjectType, token: Token) -> Field | None:
    """The leaf whose value stands behind a path, or None."""
    if token.quoted or not token.text.startswith("--"):
        return None
    message, item, number = descend(object_type, token.text[2:].split("."))
    return item if item is not None and message is None and bool(number) == item.list else None


def descend(start: Message, parts: Sequence[str]) -> tuple[Message | None, Field | None, str]:
    """Where complete parts of a path lead: the message there, the last field and the number of its element."""
    message: Message | None = start
    item: Field | None = None
    number = ""
    for part in parts:
        if item is not None and item.list and not number:
            if not NUMBER.fullmatch(part):
                return None, None, ""
            number = part
            continue
        item, number = message.fields.get(part) if message is not None else None, ""
        if item is None:
            return None, None, ""
        message = item.message
    return message, item, number


def _values(item: Field, typed: str, names: Callable[[str], Sequence[str]]) -> Offers:
    words = ("True", "False") if isinstance(item.type, Bool) else item.leaf.words()
    if isinstance(item.type, Ref) and not item.type.loose:
        words = tuple(names(item.type.to))
    default = "" if item.default is None or item.list else item.leaf.format(item.default).lower()
    found = [(quote(word), "default" if word.lower() == default else "") for word in words if _begins(word, typed)]
    return found or [("", f"{item.help} ({item.leaf.describe()})")]


def _begins(word: str, typed: str) -> bool:
    return word.lower().startswith(typed.lower())


def _paths(object_type: ObjectType, typed: str, used: Sequence[str]) -> Offers:
    """The paths that begin with ``typed``, one part further."""
    if typed and not typed.startswith("--"):
        return _paths(object_type, "--", used) if typed == "-" else []
    *above, partial = typed.removeprefix("--").split(".")
    base = "".join(f"{part}." for part in above)
    message, item, number = descend(object_type, above)
    if item is not None and item.list and not number:
        dot = "." if item.message is not None else ""
        return [(f"--{base}{n}{dot}", item.help) for n in _numbers(f"--{base}", used) if str(n).startswith(partial)]
    return [] if message is None else list(_fields(message, f"--{base}", partial, used))


def _fields(message: Message, base: str, partial: str, used: Sequence[str]) -> Iterator[tuple[str, str]]:
    for item in message.fields.values():
        deeper = item.list or item.message is not None
        path = f"{base}{item.name}"
        if not item.read_only and item.name.startswith(partial) and path not in used:
            yield (f"{path}." if deeper else path), item.help


def _numbers(base: str, used: Sequence[str]) -> list[int]:
    """The elements that were named before, and the next one."""
    found = {path.removeprefix(base).split(".")[0] for path in used if path.startswith(base)}
    highest = max((int(number) for number in found if NUMBER.fullmatch(number)), default=0)
    return list(range(1, min(highest, 1000) + 2))

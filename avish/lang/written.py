"""Values as they are written on a line or in a block: the way back from ``Type.parse``. Shared by all input modes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from avish.errors import ParseError
from avish.lang.blocks import END
from avish.lang.lex import LINE_LIMIT, lex, quote
from avish.schema.model import Field, Message
from avish.schema.types import Bool, Enum, Number, Ref, Secret, Type, ref_name

MARKS = frozenset({"<<", "|"})
"""Words that mean something on a line unless they are quoted."""
FILE = re.compile(r"file:(?=[/~.])")
ROOM = 1024
"""Characters of a line that are kept free for what stands before a value."""


def raw(field: Field, value: Any) -> str:
    """The text, not quoted yet, that the type of a leaf reads as ``value``; a secret as its placeholder."""
    leaf = field.leaf
    if isinstance(leaf, Enum):
        return str(value).lower()
    if isinstance(leaf, Number):
        return str(value)  # without its unit
    return leaf.format(value)


def choices(leaf: Type) -> tuple[str, ...]:
    """The words a leaf takes, where they can be listed."""
    return ("True", "False") if isinstance(leaf, Bool) else leaf.words()


def word(text: str) -> str:
    """``text`` as one word of a line that is taken for nothing but a value."""
    quoted = quote(text)
    if quoted == text and (text.startswith("--") or text in MARKS):
        return f'"{text}"'
    return quoted


def fits_line(text: str) -> bool:
    """Whether a line can hold ``text``; newlines and control characters need lines of their own."""
    if text.isprintable() and len(text) < LINE_LIMIT // 2:
        return True
    if len(quote(text)) > LINE_LIMIT - ROOM:
        return False
    try:
        lex(quote(text))
    except ParseError:
        return False
    return True


def names_file(text: str) -> bool:
    """Whether a shell takes a value typed on a line for the file that holds it (``file:/tmp/banner``)."""
    return FILE.match(text) is not None


def terminator(texts: Iterable[str]) -> str:
    """END, or END2, END3, ... when a line of ``texts`` reads like that: what may end a block of them."""
    taken = {line.strip() for text in texts for line in text.split("\n")}
    number = 1
    while (end := END if number == 1 else f"{END}{number}") in taken:
        number += 1
    return end


def said(
    message: Message, body: dict[str, Any], *, brief: bool, kept: Collection[str] = ()
) -> Iterator[tuple[Field, Any]]:
    """The fields of a body that have to be written, in row order, with their values.

    Left out: what is absent, read-only or an empty list, which the controller takes for absent; with ``brief`` also
    what is at its default, unless it is among ``kept``.
    """
    for name, field in message.fields.items():
        value = body.get(name)
        if value is None or field.read_only or (field.list and not value):
            continue
        if brief and name not in kept and _is_default(field, value):
            continue
        yield field, value


def _is_default(field: Field, value: Any) -> bool:
    if field.default is None or isinstance(field.type, Secret):
        return False
    if isinstance(field.type, Ref) and not field.list:
        return ref_name(str(value)) == ref_name(str(field.default))
    return bool(value == field.default)

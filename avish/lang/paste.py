"""An object as the lines that make it, typed at the prompt.

Multi-line texts: a line whose last word is ``--`` takes the lines behind it as the value of its last field, up to a
line END; where the text has such a line itself, another word behind ``--`` names the last line (``-- END2``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from avish.lang import written
from avish.lang.blocks import END
from avish.lang.tree import RANGE
from avish.schema.model import Field, Message, ObjectType
from avish.schema.types import Bool

Body = dict[str, Any]


def command(object_type: ObjectType, body: Body) -> str:
    """The line that opens the object: ``configure pool p1``, ``debug serviceengine se1``."""
    words = [object_type.verb, *(object_type.words or (object_type.word,))]
    if not object_type.singleton:
        words.append(written.word(str(body.get("name", ""))))
    return " ".join(words)


def lines(object_type: ObjectType, body: Body, *, full: bool = False) -> list[str]:
    """The lines that make ``body`` (as REST gives it) on a controller without it, the outermost ``save`` last.

    Typed over the same object they change nothing. References are names, secrets their placeholder, which only an
    object that has the secret takes. ``full``: fields at their default as well: for objects of a fresh controller,
    whose values need not be the defaults of the grammar. Known limit: a list that holds a scalar twice loses one.
    """
    named = () if object_type.singleton else ("name",)
    return [command(object_type, body), *_message(object_type, body, full=full, without=named), "save"]


def _message(
    message: Message, body: Body, *, full: bool, kept: Collection[str] = (), without: Collection[str] = ()
) -> Iterator[str]:
    """The lines inside the mode of a message, without the ``save`` that ends it."""
    for field, value in written.said(message, body, brief=not full, kept=kept):
        if field.name in without:
            continue
        for one in value if field.list else [value]:
            if field.message is not None:
                # a key is compared as a whole, so nothing of it may be left to the controller's defaults
                yield from _nested(field, field.message, one, full=full or field.name in kept)
            else:
                yield from _leaf(field, one)


def _leaf(field: Field, value: Any) -> Iterator[str]:
    if isinstance(field.type, Bool):
        yield field.name if value else f"no {field.name}"
        return
    text = written.raw(field, value)
    if written.fits_line(text) and not written.names_file(text):
        yield f"{field.name} {written.word(text)}"
        return
    end = written.terminator([text])
    yield f"{field.name} --" if end == END else f"{field.name} -- {end}"
    yield from text.split("\n")
    yield end


def _nested(field: Field, message: Message, value: Body, *, full: bool) -> Iterator[str]:
    """A sub-mode. An element begins with its key on one line: it is found again when it exists already."""
    if message.bare == "range" and (text := _range(value)):
        yield f"{field.name} {text}"
        return
    keys = _key_words(message, value) if field.list else {}
    yield " ".join([field.name, *(f"{name} {text}" for name, text in keys.items())])
    if message.only_field in keys:
        return  # such an element is complete with its line and saved by it
    yield from _message(message, value, full=full, kept=message.key, without=keys)
    yield "save"


def _key_words(message: Message, value: Body) -> dict[str, str]:
    """The key fields of an element that a line can hold, and their values as words."""
    found = {}
    for name in message.key:
        field = message.fields[name]
        if field.message is not None or field.list or field.read_only or value.get(name) is None:
            continue
        text = written.raw(field, value[name])
        if not isinstance(field.type, Bool) and written.fits_line(text) and not written.names_file(text):
            found[name] = written.word(text)
    return found


def _range(value: Body) -> str:
    """``A-B`` where that says all of an address range, else ""."""
    if set(value) != {"begin", "end"}:
        return ""
    text = f"{value['begin']['addr']}-{value['end']['addr']}"
    try:
        return text if RANGE.parse(text) == value else ""
    except ValueError:
        return ""

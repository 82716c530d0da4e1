"""Bodies and rows into the tables of the original: boxed, nested by indent, lists from 1, units, wrapped at 80."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import gmtime, strftime
from typing import Any

from avish.schema.model import Column, Field, Message, ObjectType
from avish.schema.types import Ref, ref_name

WRAP = 80
HIDDEN = ("url", "_last_modified")
STAMP = {"secs", "usecs"}
SCALARS = ({"addr", "type"}, {"ip_addr", "mask"}, STAMP)
"""The keys of an address, a prefix and a time: messages in REST, one value in a table."""
Pair = tuple[str, str]


def box(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A boxed table; cells may hold several lines."""
    lines = [tuple(cell.split("\n") for cell in row) for row in rows]
    widths = [
        max([len(title), *(len(part) for row in lines for part in row[column])]) for column, title in enumerate(header)
    ]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    out = [rule, _line(header, widths), rule]
    for row in lines:
        height = max(len(cell) for cell in row)
        out += [_line([c[number] if number < len(c) else "" for c in row], widths) for number in range(height)]
    return "\n".join([*out, rule])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def object_table(message: Message, body: Mapping[str, Any]) -> str:
    """The Field/Value table of an object or of one level of it."""
    return box(("Field", "Value"), [(name, wrapped(text)) for name, text in object_rows(message, body)])


def object_rows(message: Message, body: Mapping[str, Any], indent: str = "") -> Iterator[Pair]:
    """Rows in the grammar's order; what the grammar does not know follows as it is."""
    for item in message.fields.values():
        if item.name in body and item.name not in HIDDEN:
            yield from _field_rows(item, body[item.name], indent)
    unknown = {name: value for name, value in body.items() if name not in message.fields}
    yield from plain_rows(unknown, indent)


def configured(message: Message, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without what is at its default, at every level (``terminal output brief``)."""
    result: dict[str, Any] = {}
    for name, value in body.items():
        item = message.fields.get(name)
        if item is None or item.message is None:
            if item is None or item.default is None or item.required or _plain(item, value) != item.default:
                result[name] = value
        elif item.list:
            result[name] = [configured(item.message, one) for one in value]
        else:
            result[name] = configured(item.message, value)  # a message says something by being there
    return result


def _plain(item: Field, value: Any) -> Any:
    """A reference by its name, as defaults have it."""
    return ref_name(value) if isinstance(item.type, Ref) and isinstance(value, str) else value


def _field_rows(item: Field, value: Any, indent: str) -> Iterator[Pair]:
    values = list(enumerate(value, 1)) if item.list and isinstance(value, list) else [(0, value)]
    for number, one in values:
        label = f"{indent}{item.name}[{number}]" if number else f"{indent}{item.name}"
        if item.message is None:
            yield label, item.leaf.format(one)
        else:
            yield label, ""
            yield from object_rows(item.message, one, indent + "  ")


def plain_rows(value: Mapping[str, Any], indent: str = "") -> Iterator[Pair]:
    """Rows of a runtime message: its keys in their order."""
    for name, entry in value.items():
        many = isinstance(entry, list)
        for number, one in enumerate(entry if many else [entry], 1):
            label = f"{indent}{name}[{number}]" if many else f"{indent}{name}"
            if isinstance(one, Mapping) and set(one) not in SCALARS:
                yield label, ""
                yield from plain_rows(one, indent + "  ")
            else:
                yield label, cell(one)


def plain_table(value: Any) -> str:
    """A runtime answer as a Field/Value table; several messages one below the other."""
    messages = value if isinstance(value, list) else [value]
    return "\n".join(box(("Field", "Value"), [(n, wrapped(t)) for n, t in plain_rows(m)]) for m in messages)


def wrapped(text: str) -> str:
    """Cut into lines of at most 80 characters."""
    parts = printable(text).split("\n")
    return "\n".join(part[i : i + WRAP] for part in parts for i in range(0, max(len(part), 1), WRAP))


def printable(text: str) -> str:
    """``text`` without what a terminal would act on: values come over REST, too."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text.replace("\t", "    "))


def list_table(object_type: ObjectType, bodies: Iterable[Mapping[str, Any]]) -> str:
    """The list of objects, with the columns of their type."""
    return columns_table(object_type.columns, bodies)


def columns_table(columns: Sequence[Column], bodies: Iterable[Mapping[str, Any]]) -> str:
    """A line for each body."""
    return box([c.title for c in columns], [[_column(c, body) for c in columns] for body in bodies])


def _column(column: Column, body: Mapping[str, Any]) -> str:
    found = [text for text in _reach(body, column.path.split(".")) if text]
    return printable(",".join(found)) or "-"


def _reach(value: Any, path: Sequence[str]) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _reach(one, path)
    elif path and isinstance(value, Mapping):
        yield from _reach(value.get(path[0]), path[1:])
    elif not path and value is not None:
        yield cell(value)


def cell(value: Any) -> str:
    """One value as text; references by name, addresses without their envelope."""
    if isinstance(value, Mapping):
        if set(value) == STAMP:
            return f"{strftime('%a %b %d %H:%M:%S %Y', gmtime(value['secs']))} ms({value['usecs'] // 1000}) UTC"
        if "addr" in value:
            return str(value["addr"])
        if "ip_addr" in value:
            return f"{cell(value['ip_addr'])}/{value.get('mask')}"
        return ", ".join(f"{key} {cell(one)}" for key, one in value.items())
    text = "" if value is None else str(value)
    return ref_name(text) if "/api/" in text else text

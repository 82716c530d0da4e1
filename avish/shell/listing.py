"""A long answer as it comes, page by page: tables whose rows are numbered through, or one JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from avish.shell import render
from avish.shell.effects import Rows

NEXT = "next_cursor"
Shape = tuple[str | tuple[str, tuple[str, ...]], ...]


def parts(body: Mapping[str, Any]) -> tuple[dict[str, Any], str, list[Any]]:
    """What stands before the rows of a page, the key of the rows, and the rows."""
    key = next((name for name, value in reversed(list(body.items())) if isinstance(value, list)), "")
    head = {name: value for name, value in body.items() if name not in (key, NEXT)}
    return head, key, body.get(key, [])


def table(page: Rows) -> str:
    """A page as a Field/Value table, or with columns."""
    if page.columns:
        return render.columns_table(page.columns, page.rows)
    if not page.first and (text := _alike(page)):
        return text
    pairs: list[tuple[str, str]] = list(render.plain_rows(page.head)) if page.first else []
    for number, one in enumerate(page.rows, page.number):
        label = f"{page.key}[{number}]"
        if isinstance(one, dict):
            pairs.append((label, ""))
            pairs += _rows(one, "  ")
        else:
            pairs.append((label, render.cell(one)))
    return _box(pairs)


def _alike(page: Rows) -> str:
    """The table of rows with the same keys and short plain values, a whole row at once; "" for other rows."""
    shape = _shape(page.rows[0]) if page.rows else ()
    if not shape or any(_shape(row) != shape for row in page.rows):
        return ""
    values = [value for row in page.rows for value in _flat(row)]
    if not values or not {type(value) for value in values} <= {int, str}:
        return ""
    texts = list(map(str, values))
    widest, everything = max(map(len, texts)), " ".join(texts)
    if widest > render.WRAP or "/api/" in everything or not everything.isprintable():
        return ""
    labels = _labels(shape)
    last = len(f"{page.key}[{page.number + len(page.rows) - 1}]")
    left, right = max([5, last, *(len(name) for name, _ in labels)]), max(5, widest)
    rule = f"+{'-' * (left + 2)}+{'-' * (right + 2)}+"
    fields = "\n".join(
        f"| {name:<{left}} | ".replace("%", "%%") + (f"%-{right}s |" if plain else f"{'':<{right}} |")
        for name, plain in labels
    )
    line = f"| %-{left}s | {'':<{right}} |\n{fields}"
    size = sum(plain for _, plain in labels)
    lines = [
        line % (f"{page.key}[{number}]", *texts[start : start + size])
        for number, start in enumerate(range(0, len(texts), size), page.number)
    ]
    return "\n".join([rule, f"| {'Field':<{left}} | {'Value':<{right}} |", rule, *lines, rule])


def _shape(row: Any) -> Shape:
    """The keys of a row, and those of the messages in it; () for what is none, or not of this kind."""
    if type(row) is not dict:
        return ()
    nested = [value for value in row.values() if type(value) is dict]
    if any(set(value) in render.SCALARS for value in nested):
        return ()
    return tuple((name, tuple(value)) if type(value) is dict else name for name, value in row.items())


def _flat(row: Mapping[str, Any]) -> list[Any]:
    found: list[Any] = []
    for value in row.values():
        if type(value) is dict:
            found += value.values()
        else:
            found.append(value)
    return found


def _labels(shape: Shape) -> list[tuple[str, bool]]:
    """A name as it stands in the table, and whether a value is beside it."""
    found: list[tuple[str, bool]] = []
    for one in shape:
        if isinstance(one, str):
            found.append((f"  {one}", True))
        else:
            found += [(f"  {one[0]}", False), *((f"    {name}", True) for name in one[1])]
    return found


def _rows(message: Mapping[str, Any], indent: str) -> Iterator[tuple[str, str]]:
    """As ``render.plain_rows``, quickly: numbers and short texts are nearly all there is."""
    for name, value in message.items():
        if type(value) is int:
            yield indent + name, str(value)
        elif type(value) is str and value.isprintable() and "/api/" not in value:
            yield indent + name, value
        elif type(value) is dict and set(value) not in render.SCALARS:
            yield indent + name, ""
            yield from _rows(value, indent + "  ")
        else:
            yield from render.plain_rows({name: value}, indent)


def _box(pairs: list[tuple[str, str]]) -> str:
    if any(len(text) > render.WRAP or not text.isprintable() for _, text in pairs):
        return render.box(("Field", "Value"), [(name, render.wrapped(text)) for name, text in pairs])
    left = max([5, *(len(name) for name, _ in pairs)])
    right = max([5, *(len(text) for _, text in pairs)])
    rule = f"+{'-' * (left + 2)}+{'-' * (right + 2)}+"
    lines = [f"| {name:<{left}} | {text:<{right}} |" for name, text in pairs]
    return "\n".join([rule, f"| {'Field':<{left}} | {'Value':<{right}} |", rule, *lines, rule])


def json_text(page: Rows) -> str:
    """A page as its piece of one JSON document: each row on a line of its own."""
    lines = [json.dumps(one, ensure_ascii=False) for one in page.rows]
    body = ",\n    ".join(lines)
    if page.first:
        head = "".join(f"  {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)},\n" for k, v in page.head.items())
        body = f"{{\n{head}  {json.dumps(page.key)}: [" + (f"\n    {body}" if lines else "")
    elif lines:
        body = f"    {body}"
    if not page.last:
        return body + ","
    return body + ("\n  ]\n}" if lines or not page.first else "]\n}")

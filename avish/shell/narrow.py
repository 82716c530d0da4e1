"""Boxed tables that are wider than the terminal: the widest columns give way. Pure.

Of a table with a line for each object long sentences are cut. Where there is no room for addresses and names either,
and in Field/Value tables, cells go on in the next line, for there every character may be what somebody looks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

READABLE = 24
"""Cells are cut in columns that are at least this wide: an address with its port is seen whole."""
LEAST = 8
"""A column is made no narrower than this."""
CUT = ".."
BREAKS = " :/,>_-"
CURVE = frozenset("·▁▂▃▄▅▆▇█")
FRAME = 3
"""Characters that a column takes besides its text."""


def fitted(text: str, columns: int) -> str:
    """``text`` with each table in it at most ``columns`` wide, as far as that can be done."""
    if max(map(len, text.split("\n"))) <= columns:
        return text
    return "\n".join(_lines(text.split("\n"), columns))


def _lines(lines: list[str], columns: int) -> Iterator[str]:
    edges: list[int] = []
    widths: list[int] = []
    folds = False
    for line in lines:
        if line.startswith("+-") and line.endswith("-+") and not line.strip("+-"):
            edges = [place for place, sign in enumerate(line) if sign == "+"]
            given = [end - start - FRAME for start, end in pairwise(edges)]
            widths = narrowed(given, columns - 1)
            folds = _folds(given, widths)
            yield "+" + "+".join("-" * (width + FRAME - 1) for width in widths) + "+"
        elif edges and len(line) == edges[-1] + 1 and line.startswith("| "):
            yield from _row([line[s + 2 : e - 1] for s, e in pairwise(edges)], widths, folds=folds)
        else:
            edges = []
            yield line


def narrowed(widths: list[int], room: int) -> list[int]:
    """The widths, with the widest made equally narrow until all fit into ``room``, frames included."""
    room -= FRAME * len(widths)
    if len(widths) == 2:  # Field and Value: names stay whole
        return widths if sum(widths) <= room else [widths[0], max(LEAST, room - widths[0])]
    limit = max(widths)
    while limit > LEAST and sum(min(width, limit) for width in widths) > room:
        limit -= 1
    spare = max(0, room - sum(min(width, limit) for width in widths))
    found = []
    for width in widths:
        more = min(spare, max(0, width - limit), 1)
        spare -= more
        found.append(min(width, limit) + more)
    return found


def _folds(given: list[int], widths: list[int]) -> bool:
    """Whether cells go on in the next line."""
    made = [width for width, before in zip(widths, given, strict=True) if width < before]
    return len(widths) == 2 or any(width < READABLE for width in made)


def _row(cells: list[str], widths: list[int], *, folds: bool) -> Iterator[str]:
    texts = [cell.rstrip() for cell in cells]
    if not folds:
        yield _line([cut(text, width) for text, width in zip(texts, widths, strict=True)], widths)
        return
    parts = [folded(text, width) for text, width in zip(texts, widths, strict=True)]
    for number in range(max(map(len, parts))):
        yield _line([part[number] if number < len(part) else "" for part in parts], widths)


def folded(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width``, broken behind a blank or a sign where that is not far from the end.

    Of a curve what is shown is the end: the latest.
    """
    if text and CURVE.issuperset(text):
        return [text[-width:]]
    found = []
    while len(text) > width:
        at = max((text.rfind(sign, 0, width) + 1 for sign in BREAKS), default=0)
        at = at if at > width // 2 else width
        found.append(text[:at].rstrip())
        text = text[at:]
    return [*found, text]


def cut(text: str, width: int) -> str:
    """``text``, or as much of it as there is room for."""
    if len(text) <= width:
        return text
    return text[-width:] if CURVE.issuperset(text) else text[: width - len(CUT)] + CUT


def _line(cells: list[str], widths: list[int]) -> str:
    return "| " + " | ".join(cell[:width].ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

"""Boxed tables that are wider than the terminal: the widest columns give way. Pure.

Of a table with a line for each object the texts that are too long are cut; the values of a Field/Value table go on in
the next line, for there a value is all there is to see.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

LEAST = 8
"""A column is made no narrower than this."""
CUT = ".."
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
    for line in lines:
        if line.startswith("+-") and line.endswith("-+") and not line.strip("+-"):
            edges = [place for place, sign in enumerate(line) if sign == "+"]
            given = [end - start - FRAME for start, end in pairwise(edges)]
            widths = narrowed(given, columns - 1)
            yield "+" + "+".join("-" * (width + FRAME - 1) for width in widths) + "+"
        elif edges and len(line) == edges[-1] + 1 and line.startswith("| "):
            yield from _row([line[s + 2 : e - 1] for s, e in pairwise(edges)], widths)
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


def _row(cells: list[str], widths: list[int]) -> Iterator[str]:
    if len(widths) == 2:
        value, width = cells[1].rstrip(), widths[1]
        parts = [value[at : at + width] for at in range(0, max(len(value), 1), width)]
        yield from (_line([cells[0] if not number else "", part], widths) for number, part in enumerate(parts))
    else:
        yield _line([cut(cell.rstrip(), width) for cell, width in zip(cells, widths, strict=True)], widths)


def cut(text: str, width: int) -> str:
    """``text``, or as much of it as there is room for."""
    return text if len(text) <= width else text[: width - len(CUT)] + CUT


def _line(cells: list[str], widths: list[int]) -> str:
    return "| " + " | ".join(cell[:width].ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

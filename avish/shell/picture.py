"""The pictures of a watch: what changed is marked, and each fits on the screen."""

from __future__ import annotations

import re

CELL = re.compile(r"[^|]*")
WORD = re.compile(r"\S+")
MARK_ON, MARK_OFF = "\x1b[7m", "\x1b[27m"


def fitted(text: str, columns: int, lines: int) -> str:
    """As much of ``text`` as the screen takes, and how much is left out."""
    found = [line[:columns] for line in text.split("\n")]
    if len(found) <= lines:
        return "\n".join(found)
    left = len(found) - lines + 1
    return "\n".join([*found[: lines - 1], f"... {left} more lines"[:columns]])


def marked(before: str, now: str, *, colour: bool) -> str:
    """``now`` with the cells that are not as they were ``before`` in reverse; without colours a star stands behind."""
    old = before.split("\n")
    lines = now.split("\n")
    return "\n".join(_line(old[n] if n < len(old) else None, line, colour=colour) for n, line in enumerate(lines))


def _line(old: str | None, now: str, *, colour: bool) -> str:
    if old == now or not now.strip(" |+-"):
        return now
    pattern = CELL if "|" in now else WORD
    were = [cell.strip() for cell in pattern.findall(old or "")]
    cells = pattern.findall(now)
    if old is not None and len(were) == len(cells):
        changed = [cell.strip() != was for cell, was in zip(cells, were, strict=True)]
    else:
        changed = [True] * len(cells)
    return _put(now, pattern, changed, colour=colour)


def _put(line: str, pattern: re.Pattern[str], changed: list[bool], *, colour: bool) -> str:
    """The line with marks around its changed cells."""
    which = iter(changed)

    def cell(found: re.Match[str]) -> str:
        text = found.group()
        if not next(which) or not text.strip():
            return text
        left, body, right = text[: len(text) - len(text.lstrip())], text.strip(), text[len(text.rstrip()) :]
        return f"{left}{MARK_ON}{body}{MARK_OFF}{right}" if colour else f"{left}{body}*{right[1:]}"

    return pattern.sub(cell, line)

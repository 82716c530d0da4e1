"""Errors as text: what, where, what to do. The one place that prints them."""

from __future__ import annotations

from pathlib import Path

from avish.errors import AvishError, ParseError, ValidationError

SHOWN_WORDS = 12
CONTEXT = 60


def explain(error: AvishError, where: str = "", begun: int = 0) -> str:
    """The text of an error; ``where`` ("line 7") goes before it.

    ``begun``: the number of the line in its script, so that lines behind it are counted in the script as well.
    """
    head = f"{where}: " if where else ""
    if isinstance(error, ParseError):
        return "\n".join(_parse(one, _placed(one, head, begun)) for one in (error, *error.more))
    if isinstance(error, ValidationError):
        return "\n".join(f"{head}{issue}" for issue in error.issues)
    return head + str(error)


def _placed(error: ParseError, head: str, begun: int) -> str:
    """Where an error is: what stands before its text."""
    if not error.row:
        return head
    return f"line {begun + error.row}: " if begun else f"{head}line {error.row}: "


def _parse(error: ParseError, head: str) -> str:
    lines = [head + error.text]
    if error.line:
        lines += _marked(error.line, error.start, error.end)
    if error.expected:
        shown = error.expected[:SHOWN_WORDS]
        more = f" ... ({len(error.expected) - SHOWN_WORDS} more)" if len(error.expected) > SHOWN_WORDS else ""
        lines.append(f"  expected: {', '.join(shown)}{more}")
    if error.nearest:
        lines.append(f"  did you mean: {error.nearest}")
    return "\n".join(lines)


def _marked(line: str, start: int, end: int) -> list[str]:
    """The line, cut around the offending token, and the marks under it; no control character reaches the terminal."""
    left = max(0, start - CONTEXT)
    piece = "".join(c if c.isprintable() else "?" for c in line[left : start + CONTEXT])
    width = max(1, min(end, left + len(piece)) - start)
    dots = "... " if left else ""
    return [f"  {dots}{piece}", "  " + " " * (len(dots) + start - left) + "^" * width]


def bug(error: BaseException, home: Path) -> str:
    """Keep the traceback of a bug in a log and say where."""
    import os  # a bug is rare, and start-up pays for every import
    import secrets
    import tempfile
    import traceback

    reference = secrets.token_hex(4)
    folder = home / "log" if os.access(home / "log", os.W_OK) else Path(tempfile.gettempdir())
    path = folder / f"avish-{reference}.log"
    path.write_text("".join(traceback.format_exception(error)))
    return f"internal error {reference}: this is a bug; details are in {path}"

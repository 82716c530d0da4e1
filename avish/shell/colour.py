"""Colours that mean something: states, differences, errors, and the words of a line."""

from __future__ import annotations

import os
import re

STYLE = {
    "verb": "bold",
    "type": "ansicyan bold",
    "field": "ansicyan",
    "name": "ansiyellow",
    "number": "ansimagenta",
    "value": "ansigreen",
    "secret": "ansibrightblack",
    "pipe": "ansimagenta bold",
    "comment": "ansibrightblack",
    "wrong": "ansired underline",
    "notice": "ansiyellow bold",
    "status": "reverse",
    "auto-suggestion": "ansibrightblack",
}
"""By kind of word (``avish.lang.highlight``), and what the prompt has besides."""
RED, GREEN, YELLOW, OFF = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
_GOOD = r"OPER_UP|UP|in sync|confirmed|running|active"
_BAD = r"OPER_DOWN|DOWN|OPER_DISABLED|out of sync|rolled back|unreachable|broken|failed"
_DOUBT = r"OPER_UNKNOWN|not checked|not probed|pending|awaits confirmation|standby|OPER_PROCESSING|OPER_CREATING"
_FLOWS = (31, 32, 33, 34, 35, 36, 91, 92, 93, 94, 95, 96)
_CELL = re.compile(rf"(?<=\| )(?:(?P<good>{_GOOD})|(?P<bad>{_BAD})|(?P<doubt>{_DOUBT}))(?=[ ,(:]*[^|]*\|)")
_CHANGE = {"+": GREEN, "-": RED, "~": YELLOW}
_CHANGED = re.compile(r"^ *([+~-]) ", re.MULTILINE)


def wanted(option: bool) -> bool:  # noqa: FBT001
    """Whether colours are wanted: ``option`` of the command line, and https://no-color.org."""
    return option and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str) -> str:
    """An answer: states in tables, lines of a difference."""
    if "| " in text:
        return _CELL.sub(_state, text)
    if _CHANGED.search(text):
        return "\n".join(map(_change, text.split("\n")))
    return text


def flow(text: str, number: int) -> str:
    """A packet: those of one flow have one colour, of those that can be read on black and on white."""
    return f"\x1b[{_FLOWS[number % len(_FLOWS)]}m{text}{OFF}"


def _state(found: re.Match[str]) -> str:
    colour = {"good": GREEN, "bad": RED, "doubt": YELLOW}[found.lastgroup or "doubt"]
    return f"{colour}{found.group()}{OFF}"


def _change(line: str) -> str:
    found = _CHANGED.match(line)
    return f"{_CHANGE[found.group(1)]}{line}{OFF}" if found else line


def error(text: str) -> str:
    """What was refused: the sentence and the marks, not the line that is quoted."""
    return "\n".join(f"{RED}{line}{OFF}" if _is_told(line) else line for line in text.split("\n"))


def _is_told(line: str) -> bool:
    return bool(line) and (not line.startswith("  ") or not line.strip(" ^"))


def warning(text: str) -> str:
    """What stands beside an answer."""
    return f"{YELLOW}{text}{OFF}"

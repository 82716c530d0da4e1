"""``| grep``: output through the system's own grep, arguments as there."""

from __future__ import annotations

import getopt
import subprocess
from collections.abc import Sequence

from avish.errors import ParseError

TIMEOUT = 60
"""Seconds."""
SHORT = "ivcnwxohEFGPe:A:B:C:m:"
LONG = ["ignore-case", "invert-match", "count", "line-number", "word-regexp", "line-regexp", "only-matching", "regexp="]


def piped(text: str, pipes: Sequence[Sequence[str]]) -> str:
    """``text`` after all ``pipes`` (the walk lets none but grep through); ParseError for bad arguments."""
    for _, *arguments in pipes:
        text = _grep(text, arguments)
    return text


def _grep(text: str, arguments: list[str]) -> str:
    command = ["/usr/bin/grep", *_checked(arguments)]
    try:
        done = subprocess.run(command, input=text + "\n", capture_output=True, text=True, check=False, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise ParseError(f"grep did not finish within {TIMEOUT} s") from None
    if done.returncode > 1:
        raise ParseError(done.stderr.strip().splitlines()[0] if done.stderr.strip() else "grep failed")
    return done.stdout.rstrip("\n")


def _checked(arguments: list[str]) -> list[str]:
    """The arguments, spelled out; what would make grep read files is refused: the user may have no right to them."""
    try:
        options, rest = getopt.gnu_getopt(arguments, SHORT, LONG)
    except getopt.GetoptError as error:
        raise ParseError(f"grep: {error}") from None
    if not any(name in ("-e", "--regexp") for name, _ in options):
        if not rest:
            raise ParseError("grep needs something to look for: | grep WORD")
        options, rest = [*options, ("-e", rest[0])], rest[1:]
    if rest:
        raise ParseError(f"grep reads the output of the command, no files: {' '.join(rest)}")
    return [part for name, value in options for part in _spelled(name, value)]


def _spelled(name: str, value: str) -> list[str]:
    if name.startswith("--"):
        return [f"{name}={value}" if name == "--regexp" else name]
    return [name, value] if f"{name[1:]}:" in SHORT else [name]

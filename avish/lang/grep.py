"""The arguments of ``| grep``: those of the system's grep that make it look at its input and at nothing else."""

from __future__ import annotations

import getopt
import re
from collections.abc import Sequence

SHORT = "ivcnwxohHbLlqsyzEFGPTe:A:B:C:m:"
LONG = (
    "after-context=", "basic-regexp", "before-context=", "byte-offset", "color", "colour", "context=", "count",
    "extended-regexp", "files-with-matches", "files-without-match", "fixed-strings", "ignore-case", "initial-tab",
    "invert-match", "label=", "line-number", "line-regexp", "max-count=", "no-filename", "no-ignore-case",
    "no-messages", "null-data", "only-matching", "perl-regexp", "quiet", "regexp=", "silent", "with-filename",
    "word-regexp",
)  # fmt: skip
_NUMBER = re.compile(r"-\d+")


def checked(arguments: Sequence[str]) -> list[str]:
    """The arguments spelled out, for a grep that reads its standard input.

    ValueError: an unknown option, nothing to look for, or what would make it read files, for which the user may have
    no right.
    """
    words = [part for word in arguments for part in (["-C", word[1:]] if _NUMBER.fullmatch(word) else [word])]
    try:
        options, rest = getopt.gnu_getopt(words, SHORT, list(LONG))
    except getopt.GetoptError as error:
        raise ValueError(f"grep: {error}") from None
    if not any(name in ("-e", "--regexp") for name, _ in options):
        if not rest:
            raise ValueError("grep needs something to look for: | grep WORD")
        options, rest = [*options, ("-e", rest[0])], rest[1:]
    if rest:
        raise ValueError(f"grep reads the output of the command, no files: {' '.join(rest)}")
    return [part for name, value in options for part in _spelled(name, value)]


def _spelled(name: str, value: str) -> list[str]:
    if name.startswith("--"):
        return [f"{name}={value}" if f"{name[2:]}=" in LONG else name]
    return [name, value] if f"{name[1:]}:" in SHORT else [name]

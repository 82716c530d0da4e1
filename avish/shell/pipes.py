"""``| grep``, ``| count`` and what else stands behind a bar: text in, text out."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from avish.errors import ParseError
from avish.lang import grep

TIMEOUT = 60
"""Seconds."""


def piped(text: str, pipes: Sequence[Sequence[str]]) -> str:
    """``text`` after all ``pipes`` (``more`` and ``save`` are the screen's); ParseError for bad arguments."""
    for name, *arguments in pipes:
        if name == "grep":
            text = _grep(text, arguments)
        elif name == "count":
            text = str(len(text.split("\n")) if text else 0)
    return text


def stream_arguments(pipes: Sequence[Sequence[str]]) -> list[list[str]]:
    """The programs that lines pass one by one; ParseError for bad arguments."""
    try:
        return [["/usr/bin/grep", "--line-buffered", *grep.checked(list(arguments))] for _, *arguments in pipes]
    except ValueError as error:
        raise ParseError(str(error)) from None


def _grep(text: str, arguments: list[str]) -> str:
    try:
        command = ["/usr/bin/grep", *grep.checked(arguments)]
        done = subprocess.run(
            command, input=text + "\n", capture_output=True, text=True, errors="replace", check=False, timeout=TIMEOUT
        )
    except ValueError as error:
        raise ParseError(str(error)) from None
    except OSError as error:
        raise ParseError(f"grep: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ParseError(f"grep did not finish within {TIMEOUT} s") from None
    if done.returncode > 1:
        told = done.stderr.strip().partition("\n")[0].removeprefix("/usr/bin/")
        raise ParseError(told or "grep failed")
    return done.stdout.rstrip("\n")

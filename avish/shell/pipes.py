"""``| grep``: output through the system's own grep, arguments as there."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from avish.errors import ParseError

KNOWN = ("grep",)


def piped(text: str, pipes: Sequence[Sequence[str]]) -> str:
    """``text`` after all ``pipes``; ParseError for an unknown pipe or bad arguments."""
    for command, *arguments in pipes:
        if command not in KNOWN:
            raise ParseError(f"unknown pipe {command!r}", expected=KNOWN)
        text = _grep(text, arguments)
    return text


def _grep(text: str, arguments: list[str]) -> str:
    if not arguments:
        raise ParseError("grep needs something to look for: | grep WORD")
    if any(not argument.startswith("-") for argument in arguments[1:]) and not arguments[0].startswith("-"):
        raise ParseError(f"grep reads the output of the command, no files: {' '.join(arguments[1:])}")
    done = subprocess.run(
        ["/usr/bin/grep", *arguments],
        input=text + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode > 1:
        raise ParseError(done.stderr.strip().splitlines()[0] if done.stderr.strip() else "grep failed")
    return done.stdout.rstrip("\n")

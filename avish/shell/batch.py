"""The front for scripts: lines from standard input, a file or the command line; stops at the first error."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from typing import IO, Any

from avish.errors import ApplyError, AvishError, ParseError
from avish.lang.check import Checker
from avish.lang.lex import LINE_LIMIT
from avish.shell.driver import Driver, event_line
from avish.shell.explain import explain

Numbered = Iterator[tuple[int, str | ParseError]]
"""Line numbers from 1, and the line or why it could not be read."""


class BatchScreen:
    """Standard output and standard error, whole lines at a time, also from several threads."""

    def __init__(self, out: IO[str], err: IO[str], *, quiet: bool = False) -> None:
        self._out, self._err, self._quiet = out, err, quiet
        self._lock = threading.Lock()

    def out(self, text: str) -> None:
        """An answer. ApplyError when it cannot be written; a reader that has gone is BrokenPipeError."""
        try:
            with self._lock:
                print(text, file=self._out, flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise ApplyError(f"standard output cannot be written: {error.strerror}") from None

    def err(self, text: str) -> None:
        """Something beside the answer."""
        with self._lock:
            print(text, file=self._err, flush=True)

    def event(self, event: dict[str, Any], title: str) -> None:
        """An event of a capture."""
        if not self._quiet and (line := event_line(event, title)):
            self.out(line)


def lines_of(stream: IO[bytes]) -> Numbered:
    """Numbered lines of text; a line that is too long or no UTF-8 comes as the error it is."""
    number = 0
    while raw := stream.readline(4 * LINE_LIMIT):
        number += 1
        whole = raw.endswith(b"\n") or len(raw) < 4 * LINE_LIMIT
        if not whole:
            while (rest := stream.readline(4 * LINE_LIMIT)) and not rest.endswith(b"\n"):
                pass
            yield number, ParseError(f"the line is longer than {LINE_LIMIT} characters")
            continue
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            yield (
                number,
                ParseError(f"this is no text: byte {raw[error.start]:#04x} at column {error.start + 1} is not UTF-8"),
            )


def run_batch(driver: Driver, lines: Numbered, *, keep_going: bool) -> int:
    """All lines; the exit status."""
    status, number = 0, 0
    for number, line in lines:
        try:
            if isinstance(line, ParseError):
                raise line
            driver.run(line)
        except AvishError as error:
            driver.screen.err(explain(error, f"line {number}"))
            status = status or error.exit_status
            if not keep_going:
                break
        except KeyboardInterrupt:
            driver.screen.err(f"interrupted at line {number}; what was saved stays saved")
            return 130
        if driver.leaving:
            return status
    return _ended_inside(driver, number, status)


def _ended_inside(driver: Driver, number: int, status: int) -> int:
    """A script that leaves an object open has not saved it: say so."""
    candidate = driver.session.candidate
    if candidate is None:
        return status
    what = f"{candidate.type.word} {candidate.name}"
    if status == 0:
        levels = len(candidate.frames)
        driver.screen.err(
            f"line {number}: the input ends inside {driver.session.mode}: nothing of {what} was saved"
            f" ({levels} more save{'s' if levels > 1 else ''} needed, one for each open level)"
        )
        return 2
    driver.screen.err(f"nothing of {what} was saved")
    return status


def check_lines(checker: Checker, lines: Numbered) -> int:
    """``--parse-only``: one JSON object a line; 2 if any was refused."""
    status = 0
    encode = json.JSONEncoder(ensure_ascii=False).encode
    write = sys.stdout.write
    for number, line in lines:
        if isinstance(line, ParseError):
            verdict: dict[str, Any] = {"ok": False, "error": line.text, "expected": []}
            text = ""
        else:
            verdict, text = checker.check(line), line
        if not verdict["ok"]:
            status = 2
        write(encode({"line": number, "text": text, **verdict}) + "\n")
    sys.stdout.flush()
    return status

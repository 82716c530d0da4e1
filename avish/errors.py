"""Every error a user can meet: one base, a class for each kind, each saying what, where and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing wrong with an object. ``path`` names the place, e.g. ``natpolicy ftp-nat rules[1].action``.

    ``request``: which one of a transaction it is about, from 0; None: of none, or of all. ``check``: what of the
    grammar's checks found it, "" for none of them.
    """

    path: str
    text: str
    severity: Literal["error", "warning"] = "error"
    request: int | None = None
    check: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


class AvishError(Exception):
    """The base. ``exit_status`` is the program's exit code, ``http_status`` the code of a REST answer."""

    exit_status = 1
    http_status = 400


class ParseError(AvishError):
    """A line that was not understood. ``start`` and ``end`` mark the offending token in ``line``.

    ``row``: which of the lines behind the one that announced them it is, from 1; 0: that line itself. ``more``: what
    else is wrong there.
    """

    exit_status = 2

    def __init__(
        self,
        text: str,
        *,
        line: str = "",
        start: int = 0,
        end: int = 0,
        expected: tuple[str, ...] = (),
        nearest: str = "",
        row: int = 0,
        more: tuple[ParseError, ...] = (),
    ) -> None:
        super().__init__(text)
        self.text = text
        self.line = line
        self.start = start
        self.end = end
        self.expected = expected
        self.nearest = nearest
        self.row = row
        self.more = more


class AnswerError(ParseError):
    """A noun of the original's that is not here, shown: the reason is the answer, and no place is marked as wrong."""

    exit_status = 1


class ValidationError(AvishError):
    """Objects that contradict the grammar or each other: all issues, not the first. ``status``: 400, 403, 404, 409."""

    def __init__(self, issues: list[Issue] | str, status: int = 400) -> None:
        self.issues = [Issue("", issues)] if isinstance(issues, str) else issues
        self.http_status = status
        super().__init__("\n".join(str(issue) for issue in self.issues))


class ConflictError(AvishError):
    """A write over a state the writer has not seen."""

    http_status = 412


class UnavailableError(AvishError):
    """A controller or service engine that does not answer."""

    exit_status = 69
    http_status = 503


class ApplyError(AvishError):
    """The kernel or the store refused a change; the old state is back."""

    http_status = 422


class BugError(AvishError):
    """A bug of the controller's, told with a reference into its log."""

    exit_status = 70
    http_status = 500


class SchemaError(AvishError):
    """A bad grammar: file, path and reason."""

    exit_status = 70
    http_status = 500

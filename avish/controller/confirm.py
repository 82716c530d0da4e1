"""Commit confirm: a commit that is taken back unless somebody confirms it in time. The state of it is in the store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from avish.config.store import Store, Who
from avish.controller.access import SYSTEM
from avish.controller.notices import Notice, Notices, moment
from avish.errors import ValidationError
from avish.schema.model import Schema

CONFIRM = "confirm"
ROLLED_BACK = "rolled_back"
"""Notes of the store: what awaits its confirmation, and the numbers of commits that were taken back."""
COMMIT = ("commit",)
"""The command whose option ``confirm`` says which times there are."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Commits after ``back_to``, up to ``revision``, that are taken back at ``until`` (seconds since the epoch)."""

    revision: int
    back_to: int
    user: str
    source: str
    until: float

    def left(self, now: float) -> float:
        """Seconds until then, 0 when it is past."""
        return max(self.until - now, 0.0)


@dataclass(frozen=True, slots=True)
class Terms:
    """``minutes``: take the commit back unless it is confirmed in that time. ``ends``: the commit takes this back;
    ``notice``: what is told of that.
    """

    minutes: float | None = None
    ends: Pending | None = None
    notice: Notice | None = None


PLAIN = Terms()
Notes = Mapping[str, Any]


def minutes_of(schema: Schema, text: str) -> float:
    """The value of ``confirm=`` in a query; ValidationError when it is no such time."""
    option = next(one for one in schema.commands if one.path == COMMIT).options[CONFIRM]
    try:
        return float(option.leaf.parse(text))
    except ValueError as error:
        raise ValidationError(f"confirm: {error}") from None


class Confirmations:
    """What awaits its confirmation, if anything. All but ``pending`` is called while nobody else commits."""

    def __init__(self, store: Store, clock: Callable[[], float], notices: Notices) -> None:
        found = store.note(CONFIRM)
        self._pending = Pending(**found) if found else None
        self._store = store
        self._clock = clock
        self._notices = notices
        self.changed = threading.Event()
        """Set whenever there is something else to wait for."""

    @property
    def pending(self) -> Pending | None:
        """What awaits its confirmation."""
        return self._pending

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    def admit(self, who: Who, terms: Terms) -> None:
        """ValidationError (409) for a change that has to wait until the commit is confirmed or taken back."""
        if terms.ends is not None:
            if terms.ends != self._pending:
                raise ValidationError("that commit does not await its confirmation any more", status=409)
        elif waits := self.waits(who, terms):
            raise ValidationError(waits, status=409)

    def waits(self, who: Who, terms: Terms) -> str:
        """Why a change has to wait; "" when it has not to."""
        pending = self._pending
        if pending is None or who.source == SYSTEM or (who.user == pending.user and terms.minutes is not None):
            return ""
        return (
            f"commit {pending.revision} of {pending.user} ({pending.source}) awaits its confirmation until"
            f" {moment(pending.until)}, else the configuration goes back to that of commit {pending.back_to};"
            " confirm it (commit, or POST /api/confirm) or take it back now (commit cancel, or DELETE /api/confirm),"
            " then repeat your change"
        )

    def notes(self, who: Who, terms: Terms, old: int, new: int) -> Notes:
        """What the store has to keep together with the commit from revision ``old`` to ``new`` (or the same)."""
        if terms.ends is not None:
            gone = [*(self._store.note(ROLLED_BACK) or []), *range(terms.ends.back_to + 1, terms.ends.revision + 1)]
            told = self._notices.noted(terms.notice) if terms.notice else {}
            return {CONFIRM: None, ROLLED_BACK: gone, **told}
        if terms.minutes is None or (old == new and self._pending is None):
            return {}
        back_to = self._pending.back_to if self._pending else old
        until = self._clock() + terms.minutes * 60
        return {CONFIRM: asdict(Pending(new, back_to, who.user, who.source, until))}

    def kept(self, notes: Notes) -> None:
        """The notes are in the store."""
        if CONFIRM not in notes:
            return
        found = notes[CONFIRM]
        self._pending = Pending(**found) if found else None
        self.changed.set()
        if self._pending is not None:
            self._notices.tell(self._notices.make(_started(self._pending), "confirm"))

    def confirm(self) -> Pending:
        """The commit stays; ValidationError (404) when none awaits its confirmation."""
        pending = self._pending
        if pending is None:
            raise ValidationError("no commit awaits its confirmation", status=404)
        self._store.keep({CONFIRM: None})
        self.kept({CONFIRM: None})
        return pending

    def rolled_back(self) -> set[int]:
        """The numbers of the commits that were taken back."""
        return set(self._store.note(ROLLED_BACK) or [])


def _started(pending: Pending) -> str:
    return (
        f"commit {pending.revision} of {pending.user} awaits its confirmation until {moment(pending.until)}, else the"
        f" configuration goes back to that of commit {pending.back_to}"
    )

"""Back to an earlier revision, by a commit like any other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from avish.config.config import Change, Config
from avish.config.engines import engines
from avish.config.store import Store, Who
from avish.config.transaction import Restore
from avish.config.wellknown import ENGINE, FOUND, VRF
from avish.controller.access import Caller, Scope
from avish.controller.commit import Ask, Committer, Outcome
from avish.controller.confirm import Confirmations, Pending, Terms
from avish.controller.guard import Effects
from avish.controller.notices import Notices
from avish.errors import ConflictError, ValidationError


@dataclass(frozen=True, slots=True)
class Way:
    """Where a rollback leads: ``to`` a revision, or ``back`` a number of commits. ``seen``: the newest revision when
    somebody looked at what it would change.
    """

    to: int | None = None
    back: int = 0
    seen: int | None = None

    def target(self, newest: int) -> int:
        """The revision; ValidationError (404) for none, ConflictError when there are newer ones than was seen."""
        if self.seen not in (None, newest):
            text = f"there are commits up to {newest} now, and were up to {self.seen} when you looked; look again"
            raise ConflictError(f"the rollback would not do what was shown: {text}")
        number = newest - self.back if self.to is None else self.to
        if not 0 < number <= newest:
            raise no_revision(number, newest) if self.to is not None else _too_far(self.back, newest)
        return number


def way_of(body: Any) -> Way:
    """The body of a rollback; ValidationError for any other."""
    given = dict(body) if isinstance(body, dict) else {}
    seen = given.pop("from", None)
    numbers = [*given.values(), *([] if seen is None else [seen])]
    fine = all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
    if len(given) != 1 or not fine or not {"to", "back"} & set(given):
        raise ValidationError('a rollback needs a body such as {"to": 12} or {"back": 1}')
    return Way(given["to"], 0, seen) if "to" in given else Way(None, given["back"], seen)


class Rollbacks:
    """``engines``: the names of those that the topology has."""

    def __init__(
        self,
        *,
        committer: Committer,
        store: Store,
        engines: Collection[str],
        confirmations: Confirmations,
        notices: Notices,
        effects: Effects,
    ) -> None:
        self._committer = committer
        self._store = store
        self._engines = engines
        self._confirmations = confirmations
        self._notices = notices
        self._effects = effects

    def to(self, way: Way) -> Ask:
        """The requests that make the configuration what it was; ValidationError (404) when there is none, ConflictError
        when it is not the one that was seen.
        """

        def ask(config: Config) -> list[Restore]:
            revision = way.target(config.revision)
            try:
                changes = self._store.changes(config.revision, revision)
            except KeyError:
                changes = []
                if revision != config.revision:
                    raise no_revision(revision, config.revision) from None
            return [one for change in changes if (one := self._restore(config, change)) is not None]

        return ask

    def take_back(self, pending: Pending, who: Who, text: str) -> Outcome:
        """Undo a commit that awaits its confirmation, and tell everybody ``text``."""
        notice = self._notices.make(text, "rollback")
        outcome = self._committer.commit(
            self.to(Way(to=pending.back_to)),
            who,
            effect=self._effects.of(Scope(Caller(who.user, superuser=True))),  # it was said when the commit was made
            terms=Terms(ends=pending, notice=notice),
        )
        self._notices.tell(notice)
        return outcome

    def _restore(self, config: Config, change: Change) -> Restore | None:
        """Engines that run keep their objects, what was found of their kernels, and the VRFs that they are in."""
        present = config.get(change.type, change.uuid)
        if change.type == VRF and change.body is None and any(one.vrf_uuid == change.uuid for one in engines(config)):
            return None
        if change.type != ENGINE or present is None or present["name"] not in self._engines:
            return Restore(change.type, change.uuid, change.body)
        if change.body is None:
            return None
        body = {name: value for name, value in change.body.items() if name not in (FOUND, "_last_modified")}
        found = {FOUND: present[FOUND]} if FOUND in present else {}
        return Restore(change.type, change.uuid, {**body, **found, "name": present["name"]})


def _too_far(back: int, newest: int) -> ValidationError:
    text = f"{back} commits back there is none: the first one was {newest - 1} commits ago (show commits)"
    return ValidationError(text, status=404)


def no_revision(number: int, newest: int) -> ValidationError:
    """What is said of a revision that is none."""
    return ValidationError(f"there is no commit {number}: there are 1 to {newest} (show commits)", status=404)

"""Back to an earlier revision, by a commit like any other."""

from __future__ import annotations

from collections.abc import Collection

from avish.config.config import Change, Config
from avish.config.store import Store, Who
from avish.config.transaction import Restore
from avish.controller.commit import Ask, Committer, Outcome
from avish.controller.confirm import Confirmations, Pending, Terms
from avish.controller.debug import CaptureSwitch
from avish.controller.notices import Notices
from avish.errors import ValidationError

ENGINE = "serviceengine"
FOUND = "data_vnics"
"""What an engine's kernel says; no revision knows better."""


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
        switch: CaptureSwitch,
    ) -> None:
        self._committer = committer
        self._store = store
        self._engines = engines
        self._confirmations = confirmations
        self._notices = notices
        self._switch = switch

    def to(self, revision: int) -> Ask:
        """The requests that make the configuration what it was; ValidationError (404) when there is none."""

        def ask(config: Config) -> list[Restore]:
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
            self.to(pending.back_to),
            who,
            effect=self._switch.effect(who.user),
            terms=Terms(ends=pending, notice=notice),
        )
        self._notices.tell(notice)
        return outcome

    def _restore(self, config: Config, change: Change) -> Restore | None:
        """Engines that run keep their objects, and what was found of their kernels."""
        present = config.get(change.type, change.uuid)
        if change.type != ENGINE or present is None or present["name"] not in self._engines:
            return Restore(change.type, change.uuid, change.body)
        if change.body is None:
            return None
        body = {name: value for name, value in change.body.items() if name not in (FOUND, "_last_modified")}
        found = {FOUND: present[FOUND]} if FOUND in present else {}
        return Restore(change.type, change.uuid, {**body, **found, "name": present["name"]})


def no_revision(number: int, newest: int) -> ValidationError:
    """What is said of a revision that is none."""
    return ValidationError(f"there is no commit {number}: there are 1 to {newest} (show commits)", status=404)

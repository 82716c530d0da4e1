"""The worker that takes a commit back when its time is over."""

from __future__ import annotations

import logging
import threading

from avish.config.store import Who
from avish.controller.access import SYSTEM
from avish.controller.confirm import Confirmations, Pending
from avish.controller.notices import Notices
from avish.controller.rollback import Rollbacks
from avish.errors import AvishError

log = logging.getLogger(__name__)

LAST_MINUTE = 60.0
RETRY_SECONDS = 5.0
LONGEST_WAIT = 30.0
"""The clock may be set meanwhile: look at it again at least this often."""


class Deadline:
    """A thread; what it waits for is in the store, so that it may die and begin anew at any moment."""

    def __init__(self, confirmations: Confirmations, rollbacks: Rollbacks, notices: Notices) -> None:
        self._confirmations = confirmations
        self._rollbacks = rollbacks
        self._notices = notices
        self._unwarned: Pending | None = None
        self._failed: Pending | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="deadline", daemon=True)

    def start(self) -> None:
        """Take back what is overdue, then begin to watch."""
        self._guarded()
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what awaits its confirmation goes on waiting in the store."""
        self._ended = True
        self._confirmations.changed.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> float:
        """Do what is due; gives the seconds until the next look."""
        pending = self._confirmations.pending
        if pending is None:
            return LONGEST_WAIT
        left = pending.left(self._confirmations.now())
        if left <= 0:
            return self._over(pending)
        if left > LAST_MINUTE:
            self._unwarned = pending
            return min(left - LAST_MINUTE, LONGEST_WAIT)
        if self._unwarned == pending:  # not for who had no more than a minute: he was told the time just now
            self._unwarned = None
            text = f"commit {pending.revision} of {pending.user} is taken back in {left:.0f} seconds unless confirmed"
            self._notices.tell(self._notices.make(text, "minute"))
        return min(left, LONGEST_WAIT)

    def _run(self) -> None:
        while not self._ended:
            self._confirmations.changed.clear()
            self._confirmations.changed.wait(self._guarded())

    def _guarded(self) -> float:
        if self._ended:
            return 0.0
        try:
            return self.look()
        except Exception:  # the thread must outlive a bug, and say so
            log.exception("watching over commit confirm failed")
            return RETRY_SECONDS

    def _over(self, pending: Pending) -> float:
        back = f"commit {pending.revision} of {pending.user} was not confirmed in time"
        text = f"{back}: the configuration is that of commit {pending.back_to} again"
        comment = f"{back}: back to commit {pending.back_to}"
        try:
            self._rollbacks.take_back(pending, Who(SYSTEM, SYSTEM, comment), text)
        except AvishError as error:
            if self._confirmations.pending != pending:
                return 0.0  # confirmed, extended or taken back this very moment
            log.warning("%s, and cannot be taken back: %s", back, error)
            self._tell_failure(pending, f"{back}, and cannot be taken back: {error}; it is tried again")
            return RETRY_SECONDS
        log.warning("%s", text)
        return 0.0

    def _tell_failure(self, pending: Pending, text: str) -> None:
        """Once."""
        if self._failed != pending:
            self._failed = pending
            self._notices.tell(self._notices.make(text, "rollback"))

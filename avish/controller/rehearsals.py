"""Candidates of dry runs, kept for a while so that the next dry run can go on from one."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict

from avish.controller.commit import Head
from avish.errors import ValidationError

KEPT = 32
PREFIX = "dry-"


class Rehearsals:
    """By token; the one not used for longest goes first. They are values that share nearly everything with the head."""

    def __init__(self) -> None:
        self._heads: OrderedDict[str, Head] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, candidate: Head) -> str:
        """The token of a candidate."""
        token = PREFIX + secrets.token_hex(8)
        with self._lock:
            self._heads[token] = candidate
            while len(self._heads) > KEPT:
                self._heads.popitem(last=False)
        return token

    def candidate(self, token: str) -> Head:
        """The candidate of a token; ValidationError (410) when it is not kept any more."""
        with self._lock:
            if token not in self._heads:
                raise ValidationError(
                    f"the dry run {token!r} is not known (any more): the controller keeps the last {KEPT}, and none"
                    " over a restart; repeat it from its start",
                    status=410,
                )
            self._heads.move_to_end(token)
            return self._heads[token]

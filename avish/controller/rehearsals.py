"""Candidates of dry runs, kept for a while so that the next dry run can go on from one."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

from avish.controller.commit import Head
from avish.errors import ValidationError

KEPT = 32
CHANGES, IN_ALL = 10_000, 40_000
"""Changes behind the candidates of one user, and of all; the newest candidate is kept whatever its size."""
PREFIX = "dry-"


@dataclass(frozen=True, slots=True)
class _Kept:
    """``changes``: what it does not share with the head, those of the candidates it goes on from included."""

    head: Head
    user: str
    changes: int


class Rehearsals:
    """By token; the one not used for longest goes first. They are values that share the rest with the head."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, candidate: Head, user: str, changes: int, before: str = "") -> str:
        """The token of a candidate that has so many changes behind those of the one with the token ``before``."""
        token = PREFIX + secrets.token_hex(8)
        with self._lock:
            earlier = self._kept[before].changes if before in self._kept else 0
            self._kept[token] = _Kept(candidate, user, earlier + changes)
            self._thin_out([one for one, kept in self._kept.items() if kept.user == user], KEPT, CHANGES)
            self._thin_out(list(self._kept), len(self._kept), IN_ALL)
        return token

    def _thin_out(self, tokens: list[str], most: int, changes: int) -> None:
        """Forget the oldest of these, but never the newest."""
        held = sum(self._kept[token].changes for token in tokens)
        while len(tokens) > 1 and (len(tokens) > most or held > changes):
            held -= self._kept.pop(tokens.pop(0)).changes

    def candidate(self, token: str) -> Head:
        """The candidate of a token; ValidationError (410) when it is not kept any more."""
        with self._lock:
            if token not in self._kept:
                raise ValidationError(
                    f"the dry run {token!r} is not known (any more): the controller keeps the last {KEPT} of each"
                    f" user, of {CHANGES:,} changes in all, and none over a restart; repeat it from its start",
                    status=410,
                )
            self._kept.move_to_end(token)
            return self._kept[token].head

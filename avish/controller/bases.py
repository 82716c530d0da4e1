"""From what on counters are counted: what they were when somebody cleared them. The kernel's own go on."""

from __future__ import annotations

import json
import threading
from typing import Any

from avish.config.store import Store
from avish.operate.counts import IDENTITY, Count, since

NOTE = "counter_bases"
Key = tuple[str, str]
"""Uuid of the object, and the name of the function that shows it."""


class Bases:
    """Kept in the store: a restart of the controller forgets none."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[str, Any] = dict(store.note(NOTE) or {})

    def applied(self, key: Key, answer: Any) -> Any:
        """The answer, counted from the base on."""
        base = self._known.get(_text(key))
        return answer if base is None else since(answer, base)

    def keep(self, key: Key, answer: Any) -> None:
        """Count from here on."""
        with self._lock:
            known = {**self._known, _text(key): json.loads(json.dumps(_counts_only(answer)))}
            self._store.keep({NOTE: known})
            self._known = known


def _text(key: Key) -> str:
    return " ".join(key)


def _counts_only(answer: Any) -> Any:
    """Counters, and what their rows are known by: nothing else is worth keeping."""
    if isinstance(answer, dict):
        return {key: _counts_only(value) for key, value in answer.items() if _holds(key, value)}
    return [_counts_only(one) for one in answer] if isinstance(answer, list) else answer


def _holds(key: str, value: Any) -> bool:
    if key in IDENTITY or isinstance(value, Count):
        return True
    if isinstance(value, dict):
        return any(_holds(name, one) for name, one in value.items())
    return isinstance(value, list) and any(_holds("", one) for one in value)

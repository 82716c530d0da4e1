"""An answer that may be long: its rows come one by one and are never all in memory unless somebody wants them so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Listing:
    """``head``: how the answer begins; its rows stand under ``key``."""

    head: Mapping[str, Any]
    key: str
    rows: Iterator[Any]

    def whole(self) -> dict[str, Any]:
        """Everything as one message."""
        return {**self.head, self.key: list(self.rows)}

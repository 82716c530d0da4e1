"""Where in the grammar we are, for error texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from avish.errors import SchemaError


@dataclass
class Place:
    """A file and a path in it; ``/`` goes deeper."""

    file: str
    path: str = ""

    def __truediv__(self, part: str) -> Place:
        return Place(self.file, f"{self.path}.{part}" if self.path else part)

    def error(self, text: str) -> SchemaError:
        """The refusal of what stands here."""
        where = f"{self.file}: {self.path}: " if self.path else f"{self.file}: "
        return SchemaError(where + text)


def known(raw: Any, keys: set[str], place: Place) -> None:
    """Refuse what is no mapping or has other keys."""
    if not isinstance(raw, dict):
        raise place.error("a mapping is expected here")
    for key in raw:
        if key not in keys:
            raise place.error(f"unknown attribute {key!r}; known are {', '.join(sorted(keys))}")

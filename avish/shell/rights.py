"""What the user may see and change here, so that completion does not offer what would be refused."""

from __future__ import annotations

from collections.abc import Sequence

from avish.api.client import Client
from avish.errors import AvishError
from avish.lang.complete import Suggestion
from avish.schema.model import Schema

READ, WRITE = 1, 2
NEEDED = {"show": READ, "configure": WRITE, "delete": WRITE, "debug": WRITE}
"""What the first word of a line does to objects."""


class Rights:
    """Asked for when they are first needed, and again in another tenant. The controller decides all the same."""

    def __init__(self, client: Client, schema: Schema) -> None:
        self._client, self._schema = client.twin(), schema
        self._levels: dict[str, dict[str, int]] = {}

    def permitted(self, before: str, found: Sequence[Suggestion], tenant: str) -> list[Suggestion]:
        """The suggestions behind ``before`` without object types that the user may not touch like this."""
        words = before.split()
        needed = NEEDED.get(words[0], 0) if words else 0
        if not needed or len(words) > 2 or (len(words) == 2 and before[-1:].isspace()):
            return list(found)
        refused = self._refused(needed, tenant)
        return [one for one in found if one.text not in refused]

    def _refused(self, needed: int, tenant: str) -> set[str]:
        levels = self._known(tenant)
        words = {kind: word.split()[0] for kind, (_, word, _) in self._schema.index.items()}
        allowed = {words[kind] for kind in words if levels.get(kind, WRITE) >= needed}
        return {words[kind] for kind, level in levels.items() if kind in words and level < needed} - allowed

    def _known(self, tenant: str) -> dict[str, int]:
        if tenant not in self._levels:
            try:
                answer = self._client.call("GET", "/api/avish/session")
            except AvishError:
                return {}
            body = answer.body if answer.status == 200 else {}
            self._levels[tenant] = {str(kind): int(level) for kind, level in body.get("objects", {}).items()}
        return self._levels[tenant]

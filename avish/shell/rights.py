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
WRITING = {"rollback": WRITE, "import": WRITE, "tech-support": WRITE}
"""Words of commands about no object that change something, or tell everything."""


class Rights:
    """Asked for when they are first needed, and again in another tenant. The controller decides all the same."""

    def __init__(self, client: Client, schema: Schema) -> None:
        self._client, self._schema = client.twin(), schema
        self._answers: dict[str, dict[str, dict[str, int]]] = {}

    def permitted(self, before: str, found: Sequence[Suggestion], tenant: str) -> list[Suggestion]:
        """The suggestions behind ``before`` without what the user may not touch like this."""
        words = before.split()
        whole = len(words) - (not before[-1:].isspace() and bool(words))
        needed = NEEDED.get(words[0], 0) if whole == 1 else 0
        if whole > 1 or (whole == 1 and not needed):
            return list(found)
        areas = self._areas(tenant)
        refused = areas | self._refused(needed, tenant) if needed else areas & set(WRITING)
        return [one for one in found if one.text not in refused]

    def _areas(self, tenant: str) -> set[str]:
        """The words of commands about no object that would be refused."""
        levels = self._known(tenant, "areas")
        return {word for word, level in levels.items() if level < WRITING.get(word, READ)}

    def _refused(self, needed: int, tenant: str) -> set[str]:
        levels = self._known(tenant, "objects")
        words = {kind: word.split()[0] for kind, (_, word, _) in self._schema.index.items()}
        allowed = {words[kind] for kind in words if levels.get(kind, WRITE) >= needed}
        return {words[kind] for kind, level in levels.items() if kind in words and level < needed} - allowed

    def _known(self, tenant: str, what: str) -> dict[str, int]:
        if tenant not in self._answers:
            try:
                answer = self._client.call("GET", "/api/avish/session")
            except AvishError:
                return {}
            body = answer.body if answer.status == 200 else {}
            self._answers[tenant] = {part: dict(body.get(part, {})) for part in ("objects", "areas")}
        return self._answers[tenant][what]

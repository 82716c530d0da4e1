"""The names of live objects, for completion."""

from __future__ import annotations

from collections.abc import Sequence

from avish.api.client import Client
from avish.errors import AvishError


class Names:
    """Asked for again only when the configuration has changed."""

    def __init__(self, client: Client) -> None:
        self._client = client.twin()
        self._known: dict[str, tuple[str, list[str]]] = {}

    def __call__(self, object_type: str) -> Sequence[str]:
        """Sorted names; what was known last when the controller is away."""
        etag, names = self._known.get(object_type, ("", []))
        try:
            answer = self._client.call("GET", f"/api/{object_type}", {"fields": "name", "page_size": "-1"}, etag=etag)
        except AvishError:
            return names
        if answer.status == 200:
            names = sorted(str(one.get("name", "")) for one in answer.body["results"])
            self._known[object_type] = (answer.etag, names)
        return names if answer.status in (200, 304) else []

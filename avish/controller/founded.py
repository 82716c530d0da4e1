"""What a fresh controller has by itself, told from what its users made of it: by content, whoever wrote it when."""

from __future__ import annotations

from functools import cached_property

from avish.config.config import Body, Config
from avish.config.defaults import system_defaults
from avish.config.target import named
from avish.controller.bodies import Renderer
from avish.schema.model import ObjectType, Schema

OWN = ("uuid", "_last_modified")
"""Fields that differ between controllers."""


class Founded:
    """The system's objects of this release; made when they are first asked for."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._renderer = Renderer()

    def holds(self, config: Config, kind: ObjectType, stored: Body) -> bool:
        """Whether a fresh controller has this object, as it is."""
        fresh = self._fresh.get((kind.name, stored.get("name", "")))
        return fresh is not None and fresh == self._plain(config, kind, stored)

    @cached_property
    def _fresh(self) -> dict[tuple[str, str], Body]:
        config = Config().with_changes(system_defaults(self._schema, 0), 1)
        return {
            (kind, body.get("name", "")): self._plain(config, self._schema.object(kind), body)
            for kind in config.types()
            for body in config.all(kind)
        }

    def _plain(self, config: Config, kind: ObjectType, body: Body) -> Body:
        shown = self._renderer.plain(kind, body, lambda ref: named(config, ref))
        return {name: value for name, value in shown.items() if name not in OWN}

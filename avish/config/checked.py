"""What a check is given: an object, the candidate configuration around it, and words for what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from avish.config.config import Body, Config, title
from avish.config.engines import Engine, engines
from avish.errors import Issue


@dataclass(frozen=True)
class Checked:
    """An object to look at."""

    config: Config
    type: str
    body: Body

    @cached_property
    def engines(self) -> list[Engine]:
        """All engines."""
        return engines(self.config)

    def interface_of(self, address: str) -> str:
        """The engine and interface ("se1 eth1") whose own address this is, or "" when it is nobody's."""
        return next(
            (
                f"{engine.name} {port.interface}"
                for engine in self.engines
                for port in engine.ports
                if port.address == address
            ),
            "",
        )

    def error(self, path: str, text: str) -> Issue:
        """What refuses the object."""
        return Issue(self._path(path), text)

    def warning(self, path: str, text: str) -> Issue:
        """What is kept although it does not do what one may expect."""
        return Issue(self._path(path), text, "warning")

    def _path(self, path: str) -> str:
        where = title(self.type, self.body)
        return f"{where} {path}" if path else where


Check = Callable[[Checked], Iterator[Issue]]

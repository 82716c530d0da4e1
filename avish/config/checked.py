"""What a check is given: an object, the candidate configuration around it, and words for what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from avish.config.config import Body, Config, title, uuid_in
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
        """All engines, in each of their VRFs."""
        return engines(self.config)

    def engines_in(self, vrf_ref: str | None) -> list[Engine]:
        """The engines that have interfaces in a VRF."""
        return [engine for engine in self.engines if engine.vrf_uuid == uuid_in(vrf_ref)]

    def interface_of(self, address: str, vrf_ref: str | None) -> str:
        """The engine and interface ("se1 eth1") whose own address this is in a VRF, or "" when it is nobody's."""
        return next(
            (
                f"{engine.name} {port.interface}"
                for engine in self.engines_in(vrf_ref)
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

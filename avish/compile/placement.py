"""Which engine carries what: all engines of a group know its services, the first one answers for the addresses."""

from __future__ import annotations

from collections.abc import Iterable

from avish.config.config import Config
from avish.config.engines import Engine
from avish.config.ids import Ids

MAIN_VRF = "global"


def active_engines(engines: Iterable[Engine], ids: Ids) -> set[str]:
    """The uuids of the engines that are active: of each group the one with the lowest number."""
    first: dict[str, Engine] = {}
    for engine in sorted(engines, key=lambda item: ids.numbers["engine"][item.uuid]):
        first.setdefault(engine.group, engine)
    return {engine.uuid for engine in first.values()}


def in_main_vrf(config: Config, ref: str | None) -> bool:
    """Whether it is in the VRF that is forwarded."""
    vrf = config.target(ref)
    return vrf is not None and vrf["name"] == MAIN_VRF

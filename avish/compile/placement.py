"""Which engine carries what: all engines of a group know its services, the first one answers for the addresses."""

from __future__ import annotations

from collections.abc import Iterable

from avish.config.engines import Engine
from avish.config.ids import Ids


def active_engines(engines: Iterable[Engine], ids: Ids) -> set[str]:
    """The places that are active: of each group, in each VRF, that of the engine with the lowest number."""
    first: dict[tuple[str, str], Engine] = {}
    for engine in sorted(engines, key=lambda item: ids.numbers["engine"][item.uuid]):
        first.setdefault(engine.segment, engine)
    return {engine.place for engine in first.values()}

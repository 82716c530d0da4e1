"""Answers about an engine out of those of its VRFs, each of which is a kernel namespace of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from avish.config.config import Body
from avish.operate.counts import Count
from avish.operate.listing import Listing
from avish.operate.view import View

Read = Callable[[View, Body], Any]
NUMBERS = ("num_", "flow_table_num_")
"""How the names of figures begin that are no counters and still add up."""


def in_own_vrf(read: Read) -> Read:
    """``read`` for an object that is in a VRF: it sees the engines there."""

    def reading(view: View, body: Body) -> Any:
        return read(view.of(body), body)

    return reading


def in_every_vrf(read: Read) -> Read:
    """``read`` for an engine: its answers of all VRFs in one, rows after rows, counters added up."""

    def reading(view: View, body: Body) -> Any:
        answers = [read(view.within(vrf), body) for vrf in view.vrfs(body)] or [read(view, body)]
        return answers[0] if len(answers) == 1 else merged(answers)

    return reading


def merged(answers: list[Any]) -> Any:
    """One answer out of several of the same kind."""
    first = answers[0]
    if isinstance(first, Listing):
        return Listing(first.head, first.key, chain.from_iterable(one.rows for one in answers))
    if not isinstance(first, Mapping):
        return first
    names = dict.fromkeys(name for one in answers for name in one)
    return {name: _together(name, [one[name] for one in answers if name in one]) for name in names}


def _together(name: str, values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, list):
        return list(chain.from_iterable(values))
    if isinstance(first, Count):
        return Count(sum(values))
    if isinstance(first, int) and not isinstance(first, bool) and name.startswith(NUMBERS):
        return sum(values)
    return merged(values)

"""Counters in answers, and how they start again from a base that somebody asked to be remembered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IDENTITY = (
    "uuid", "se_ref", "vs_uuid", "index", "name", "vnic_name", "intf_name", "ip_addr", "port", "service_port", "type",
)  # fmt: skip
"""The fields by which an element of a list is known again."""


class Count(int):
    """A number that only grows: clearing starts it again from 0. Everything else is what is there now."""

    __slots__ = ()


def since(answer: Any, base: Any) -> Any:
    """``answer`` with each Count less what it was in ``base``; one that is lower now has begun anew by itself."""
    if isinstance(answer, Count):
        before = base if isinstance(base, int) else 0
        return Count(answer - before if answer >= before else answer)
    if isinstance(answer, Mapping):
        known = base if isinstance(base, Mapping) else {}
        return {key: since(value, known.get(key)) for key, value in answer.items()}
    if isinstance(answer, list):
        known = {_identity(one): one for one in base} if isinstance(base, list) else {}
        return [since(one, known.get(_identity(one))) for one in answer]
    return answer


def _identity(element: Any) -> Any:
    if not isinstance(element, Mapping):
        return element if isinstance(element, str | int) else None
    return tuple(str(element.get(key, "")) for key in IDENTITY)


def counted(values: Mapping[str, int], names: Mapping[str, str]) -> dict[str, int]:
    """Counters under their names here, from those of the kernel; what this kernel does not count is left out."""
    return {ours: Count(values[theirs]) for ours, theirs in names.items() if theirs in values}

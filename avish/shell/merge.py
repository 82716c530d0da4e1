"""Two people's changes of one object brought together: what I changed since ``base`` is done again on ``theirs``."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from avish.schema.model import Field, Message
from avish.schema.types import SENSITIVE, Ref, Secret, ref_name, shown

Body = dict[str, Any]
Keyed = dict[Any, Any]
Clash = tuple[str, Any, Any]
"""Field, their value, mine: both changed it, mine is taken. Secrets in them are not in clear."""


def rebase(message: Message, base: Body, mine: Body, theirs: Body, path: str = "") -> tuple[Body, list[Clash]]:
    """``theirs`` with my changes, and where both of us changed the same to something else."""
    result = copy.deepcopy(theirs)
    clashes: list[Clash] = []
    for name in dict.fromkeys([*base, *mine]):
        item = message.fields.get(name)
        if item is None or item.read_only or _equal(item, base.get(name), mine.get(name)):
            continue
        value, found = _field(item, base.get(name), mine.get(name), theirs.get(name), f"{path}{name}")
        clashes += found
        if value is None:
            result.pop(name, None)
        else:
            result[name] = value
    return result, clashes


def _field(item: Field, base: Any, mine: Any, theirs: Any, path: str) -> tuple[Any, list[Clash]]:
    """A field that I changed."""
    if _equal(item, base, theirs):
        return copy.deepcopy(mine), []
    if item.message is not None and all(isinstance(one, dict) for one in (base, mine, theirs)):
        return rebase(item.message, base, mine, theirs, f"{path}.")
    if item.list:
        return _list(item, base or [], mine or [], theirs or [], path)
    clash = not _equal(item, base, theirs) and not _equal(item, mine, theirs)
    return copy.deepcopy(mine), [(path, _tellable(item, theirs), _tellable(item, mine))] if clash else []


def _list(item: Field, base: list[Any], mine: list[Any], theirs: list[Any], path: str) -> tuple[list[Any], list[Clash]]:
    """A list: what I took out goes, what I changed is changed, what I added comes behind theirs; my order counts."""
    before, after = _keyed(item, base), _keyed(item, mine)
    result: list[Any] = []
    others = _keyed(item, theirs)
    kept = [key for key in others if key in before and key in after]
    order, clashes = _order(before, after, kept, path)
    for key, their in _ordered(others, order).items():
        if key not in before or (key in after and item.message is None):
            result.append(their)
        elif key in after and item.message is not None:
            place = f"{path}[{len(result) + 1}]."
            element, found = rebase(item.message, before[key], after[key], their, place)
            clashes += found
            result.append(element)
    result += [copy.deepcopy(value) for key, value in after.items() if key not in others and key not in before]
    lost = [
        key for key in after if key in before and key not in others and not _equal(item, [before[key]], [after[key]])
    ]
    for key in lost:  # they took out what I changed: mine is taken
        clashes.append((path, None, _tellable(item, after[key])))
        result.append(copy.deepcopy(after[key]))
    return result, clashes


def _order(before: Keyed, after: Keyed, kept: list[Any], path: str) -> tuple[list[Any], list[Clash]]:
    """The order of the elements that both of us kept: mine where I changed it. Told as places in what we both read."""
    common = set(kept)
    read, mine = ([key for key in keyed if key in common] for keyed in (before, after))
    if mine == read:
        return kept, []
    places = {key: place for place, key in enumerate(before, 1)}
    clash = (f"{path} (order)", [places[key] for key in kept], [places[key] for key in mine])
    return mine, [clash] if kept not in (read, mine) else []


def _ordered(others: Keyed, order: list[Any]) -> Keyed:
    """Their elements, those of ``order`` in that order in the places that they have among them."""
    moved, common = iter(order), set(order)
    keys = [next(moved) if key in common else key for key in others]
    return {key: others[key] for key in keys}


def _keyed(item: Field, values: list[Any]) -> Keyed:
    """The elements by what tells one from another, in order."""
    keyed: Keyed = {}
    copies: Counter[str] = Counter()
    for value in values:
        key = _key(item, value)
        keyed[key, copies[key]] = value
        copies[key] += 1
    return keyed


def _key(item: Field, value: Any) -> str:
    if item.message is None or not item.message.key:
        return repr(_plain(item, value))
    return repr([_plain(item.message.fields[name], value.get(name)) for name in item.message.key])


def _tellable(item: Field, value: Any) -> Any:
    """A value without the secrets in it."""
    if isinstance(value, list):
        return [_tellable(item, one) for one in value]
    if item.message is not None and isinstance(value, dict):
        fields = item.message.fields
        return {name: _tellable(fields[name], one) if name in fields else one for name, one in value.items()}
    return SENSITIVE if value and isinstance(item.type, Secret) else value


def told(clashes: Iterable[Clash], place: str = "") -> Iterator[str]:
    """The clashes in words. ``place``: of the object."""
    for path, theirs, mine in clashes:
        where = f"{place}: {path}" if place else path
        yield f"{where} was changed to {shown(theirs)} meanwhile; your {shown(mine)} is taken"


def _plain(item: Field, value: Any) -> Any:
    return ref_name(value) if isinstance(item.type, Ref) and isinstance(value, str) else value


def _equal(item: Field, a: Any, b: Any) -> bool:
    if item.list and isinstance(a, list) and isinstance(b, list) and item.message is None:
        return [_plain(item, one) for one in a] == [_plain(item, one) for one in b]
    return bool(_plain(item, a) == _plain(item, b))

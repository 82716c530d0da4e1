"""An nftables table as a value: parsed from a listing, compared, and the commands that lead from one to another. Pure.

There are two tables of one name, one for each IP version (``Table.family``: "ip", "ip6"). All text is in the form of
``nft -s -nn list table``, so that what was loaded and what is listed compare equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

TABLE = "avish"
Family = Literal["ip", "ip6"]


@dataclass(frozen=True, slots=True)
class Chain:
    """``hook``: the line that makes it a base chain, else ""."""

    rules: tuple[str, ...]
    hook: str = ""


@dataclass(frozen=True, slots=True)
class ElementSet:
    """A set or map; ``elements`` from key to data, which is "" in a set.

    With the flag "dynamic" the packets write the elements, and we never; with "timeout" alone we put them there and the
    kernel takes them away. Whether such elements are there is no difference between two tables.
    """

    kind: Literal["set", "map"]
    type: str
    flags: str = ""
    elements: Mapping[str, str] = field(default_factory=dict)
    size: str = ""
    timeout: str = ""

    @property
    def nature(self) -> tuple[str, ...]:
        """All but the elements."""
        return self.kind, self.type, self.flags, self.size, self.timeout

    @property
    def passing(self) -> bool:
        """Whether elements come or go without us."""
        return "timeout" in self.flags or "dynamic" in self.flags


@dataclass(frozen=True, slots=True)
class Table:
    """A whole table, or the part of one that a change is about."""

    counters: frozenset[str] = frozenset()
    sets: Mapping[str, ElementSet] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)
    family: Family = "ip"
    objects: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of "ct helper NAME" and "ct timeout NAME": the lines."""

    @property
    def path(self) -> str:
        """How nft calls the table."""
        return f"{self.family} {TABLE}"


@dataclass(frozen=True)
class Change:
    """From one table (or part of one) to another, for each IP version; to be made as one transaction."""

    pairs: tuple[tuple[Table, Table], ...]

    def __bool__(self) -> bool:
        return any(old != new for old, new in self.pairs)

    @cached_property
    def text(self) -> str:
        """The commands. Raises UnbridgeableError."""
        return "\n".join(part for part in (transition(old, new) for old, new in self.pairs) if part)


class UnbridgeableError(ValueError):
    """Two tables so different that only replacing leads from one to the other."""


def replacement(new: Table) -> str:
    """The commands that put ``new`` in the place of whatever is there; counters start again."""
    return f"add table {new.path}\ndelete table {new.path}\n{_block(new)}"


def transition(old: Table, new: Table) -> str:
    """The commands from ``old`` to ``new``, to be run as one transaction; "" when nothing differs.

    Counters that both have keep their values. Raises UnbridgeableError when a set or base chain changed its nature.
    """
    _require_bridge(old, new)
    lines = [*_element_deletions(old, new), *_chain_deletions(old, new), *_object_deletions(old, new)]
    added = _additions(old, new)
    if added != Table(family=new.family):
        lines.append(_block(added))
    return "\n".join(lines)


def _require_bridge(old: Table, new: Table) -> None:
    for name in old.sets.keys() & new.sets.keys():
        if old.sets[name].nature != new.sets[name].nature:
            raise UnbridgeableError(f"{new.sets[name].kind} {name} has another type")
    for name in old.chains.keys() & new.chains.keys():
        if old.chains[name].hook != new.chains[name].hook:
            raise UnbridgeableError(f"chain {name} has another hook")


def _element_deletions(old: Table, new: Table) -> Iterator[str]:
    for name, was in old.sets.items():
        wanted = new.sets[name].elements if name in new.sets else {}
        gone = [_element(key, data) for key, data in was.elements.items() if wanted.get(key) != data]
        if gone and was.passing:  # added first, for it may have gone already
            yield f"add element {old.path} {name} {{ {', '.join(gone)} }}"
        if gone:
            yield f"delete element {old.path} {name} {{ {', '.join(gone)} }}"


def _chain_deletions(old: Table, new: Table) -> Iterator[str]:
    changed = [name for name, chain in old.chains.items() if chain != new.chains.get(name)]
    yield from (f"flush chain {old.path} {name}" for name in changed)
    yield from (f"delete chain {old.path} {name}" for name in changed if name not in new.chains)


def _object_deletions(old: Table, new: Table) -> Iterator[str]:
    for name, was in old.sets.items():
        if name not in new.sets:
            yield f"delete {was.kind} {old.path} {name}"
    yield from (f"delete counter {old.path} {name}" for name in sorted(old.counters - new.counters))
    for name, body in old.objects.items():
        if new.objects.get(name) != body:
            kind, _, own = name.rpartition(" ")
            yield f"delete {kind} {old.path} {own}"


def _additions(old: Table, new: Table) -> Table:
    sets = {}
    for name, wanted in new.sets.items():
        was = old.sets[name].elements if name in old.sets else {}
        fresh = {key: data for key, data in wanted.elements.items() if was.get(key) != data}
        if fresh or name not in old.sets:
            sets[name] = replace(wanted, elements=fresh)
    chains = {name: chain for name, chain in new.chains.items() if chain != old.chains.get(name)}
    objects = {name: body for name, body in new.objects.items() if body != old.objects.get(name)}
    return Table(new.counters - old.counters, sets, chains, new.family, objects)


def _block(table: Table) -> str:
    lines = [f"table {table.path} {{"]
    lines += [f"counter {name} {{ }}" for name in sorted(table.counters)]
    for name, body in table.objects.items():
        lines += [f"{name} {{", *(f"{line};" for line in body), "}"]
    for name, wanted in table.sets.items():
        lines += [f"{wanted.kind} {name} {{", f"type {wanted.type};"]
        for word, value in (("size", wanted.size), ("flags", wanted.flags), ("timeout", wanted.timeout)):
            lines += [f"{word} {value};"] if value else []
        if wanted.elements:
            lines.append(f"elements = {{ {', '.join(_element(*pair) for pair in wanted.elements.items())} }}")
        lines.append("}")
    for name, chain in table.chains.items():
        lines += [f"chain {name} {{", *([chain.hook] if chain.hook else []), *map(_to_load, chain.rules), "}"]
    return "\n".join([*lines, "}", ""])


_MASKED = re.compile(r"ip6? [sd]addr & [0-9a-f.:]+")


def _to_load(rule: str) -> str:
    """A rule as nft 1.0.6 reads it: a masked address within a key wants parentheses, which it does not list."""
    return _MASKED.sub(r"(\g<0>)", rule) if " & " in rule else rule


def _element(key: str, data: str) -> str:
    return f"{key} : {data}" if data else key


def differences(wanted: Table, found: Table) -> list[str]:
    """How ``found`` differs, in words, one line per object; empty when it does not."""
    where = "" if wanted.family == "ip" else "IPv6: "
    found_words = [
        *_named("counter", wanted.counters, found.counters),
        *_named("table of elements", wanted.sets.keys(), found.sets.keys()),
        *_named("chain", wanted.chains.keys(), found.chains.keys()),
        *_named("object", wanted.objects.keys(), found.objects.keys()),
        *(
            f"nftables object {name} differs"
            for name in sorted(wanted.objects.keys() & found.objects.keys())
            if wanted.objects[name] != found.objects[name]
        ),
        *_set_differences(wanted, found),
        *(
            f"nftables chain {name} has other rules"
            for name in sorted(wanted.chains.keys() & found.chains.keys())
            if wanted.chains[name] != found.chains[name]
        ),
    ]
    return [where + words for words in found_words]


def _named(kind: str, wanted: Iterable[str], found: Iterable[str]) -> Iterator[str]:
    have, want = set(found), set(wanted)
    yield from (f"nftables {kind} {name} is missing" for name in sorted(want - have))
    yield from (f"nftables {kind} {name} does not belong here" for name in sorted(have - want))


def _set_differences(wanted: Table, found: Table) -> Iterator[str]:
    for name in sorted(wanted.sets.keys() & found.sets.keys()):
        want, have = wanted.sets[name], found.sets[name]
        if want.nature != have.nature:
            yield f"nftables {want.kind} {name} has another type"
        if want.passing:
            continue
        for key, data in want.elements.items():
            if have.elements.get(key) != data:
                yield f"nftables {want.kind} {name}: {_element(key, data)} is missing"
        for key, data in have.elements.items():
            if want.elements.get(key) != data:
                yield f"nftables {want.kind} {name}: {_element(key, data)} does not belong here"


_OPENING = re.compile(r"(counter|set|map|chain|ct helper|ct timeout) (\S+) \{")


def parse(listing: str) -> Table:
    """The table of a listing. Raises ValueError for what this module never writes: such a table is to be replaced."""
    lines = iter([line.strip() for line in listing.splitlines() if line.strip()])
    family = _family(next(lines, ""))
    counters: set[str] = set()
    sets: dict[str, ElementSet] = {}
    chains: dict[str, Chain] = {}
    objects: dict[str, tuple[str, ...]] = {}
    for line in lines:
        if line == "}":
            return Table(frozenset(counters), sets, chains, family, objects)
        opening = _OPENING.fullmatch(line)
        if opening is None:
            raise ValueError(f"unknown object: {line}")
        kind, name = opening.groups()
        body = list(_body(lines))
        if kind == "counter":
            counters.add(name)
        elif kind == "chain":
            chains[name] = _parse_chain(body)
        elif kind.startswith("ct "):
            objects[f"{kind} {name}"] = tuple(body)
        else:
            sets[name] = _parse_set(kind, body)
    raise ValueError("the listing has no end")


def _family(first_line: str) -> Family:
    if first_line == f"table ip {TABLE} {{":
        return "ip"
    if first_line == f"table ip6 {TABLE} {{":
        return "ip6"
    raise ValueError("not the listing of our table")


def _body(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line == "}":
            return
        yield line
    raise ValueError("an object has no end")


def _parse_chain(body: list[str]) -> Chain:
    hook = body[0] if body and body[0].startswith("type ") else ""
    return Chain(tuple(body[1:] if hook else body), hook)


def _parse_set(kind: str, body: list[str]) -> ElementSet:
    words = {"type": "", "flags": "", "size": "", "timeout": ""}
    elements: dict[str, str] = {}
    for number, line in enumerate(body):
        if line.startswith("elements = "):
            elements = _parse_elements(" ".join(body[number:]))
            break
        word, _, value = line.partition(" ")
        if word not in words:
            raise ValueError(f"unknown property of a {kind}: {line}")
        words[word] = value
    if "dynamic" in words["flags"]:
        elements = {}
    return ElementSet("map" if kind == "map" else "set", elements=elements, **words)


def _parse_elements(text: str) -> dict[str, str]:
    if not text.endswith("}"):
        raise ValueError("unknown property behind the elements of a set")
    pairs = (element.partition(" : ") for element in text[len("elements = {") : -1].split(","))
    return {key.strip(): data.strip() for key, _, data in pairs}

"""script mode: an object as YAML, in the shape the REST API has; JSON, being YAML, is taken as well.

The grammar decides what a plain word is, not YAML: ``description: yes`` is a text, a MAC address is
no number in base 60.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from avish.errors import ParseError
from avish.lang import written
from avish.lang.blocks import END
from avish.schema.model import Field, Message, ObjectType
from avish.schema.types import Secret, shown

Body = dict[str, Any]
SIZE = 5_000_000
"""Characters of a document that are read."""
DEPTH = 64
"""Messages and lists inside each other that are read."""
NULLS = frozenset({"", "~", "null", "Null", "NULL"})
"""Plain words that say: not set."""


# --- to text


def format(object_type: ObjectType, body: Body) -> str:
    """``body`` as YAML, its values as REST gives them, in row order; what the grammar does not know is left out."""
    import yaml  # start-up does not pay for it

    known = _ordered(object_type, body)
    text = yaml.dump(known, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=2**20)
    return text.rstrip("\n") if known else "{}"


def _ordered(message: Message, body: Body) -> Body:
    return {
        name: _ordered_value(item, body[name]) for name, item in message.fields.items() if body.get(name) is not None
    }


def _ordered_value(item: Field, value: Any) -> Any:
    if item.message is None:
        return value
    if item.list:
        return [_ordered(item.message, one) for one in value]
    return _ordered(item.message, value)


@functools.cache
def _dumper() -> Any:
    """A dumper without aliases, that writes texts of several lines as such."""
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        def ignore_aliases(self, _: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        style = None
        if "\n" in value:
            ends = any(line.strip() == END for line in value.split("\n"))  # would end the block that it stands in
            style = '"' if ends else "|"
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper


# --- from text


@dataclass(frozen=True, slots=True)
class _Word:
    """A scalar; ``plain``: without quotes."""

    text: str
    plain: bool


def parse(object_type: ObjectType, text: str) -> Body:
    """The body that a document describes; only what it says is in it, fields that are null are not.

    References stay as they are written. Raises ParseError with the line for what is no YAML, too long, too deep, or has
    aliases, tags, keys twice or several documents; and for all that the grammar refuses, in the order of the lines.
    """
    if len(text) > SIZE:
        raise ParseError(f"the document has {len(text)} characters; at most {SIZE} are read")
    reader = _Reader(text)
    tree = reader.document()
    if not isinstance(tree, dict):
        raise ParseError("the document is no mapping of fields to values (name: p1)", line=text.split("\n", 1)[0])
    judge = _Judge()
    body = judge.message(object_type, tree, "")
    if judge.faults:
        first, *more = reader.told(judge)
        first.more = tuple(more)
        raise first
    return body


BREAKS = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""Where YAML sees the end of a line."""


class _Reader:
    """The events of a document put together: dictionaries, lists, words; None for null."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = BREAKS.split(text)
        self.events = self._events()
        self.depth = 0
        self.places: dict[str, tuple[Any, Any]] = {}
        """Where the value of each path stands."""
        self.keys: dict[str, tuple[Any, Any]] = {}
        """Where its name stands."""

    def told(self, judge: _Judge) -> list[ParseError]:
        """What a judge refuses, each with its place, in the order of the lines."""
        found = [self._told(fault, judge.secrets) for fault in judge.faults]
        return sorted(found, key=lambda error: (error.row, error.start))

    def _told(self, fault: _Fault, secrets: list[str]) -> ParseError:
        start, end = self.keys[fault.path] if fault.key else self.places[fault.path]
        line = self.lines[start.line]
        stop = end.column if end.line == start.line else len(line)
        for path in secrets:
            line = _masked(line, start.line, *self.places[path])
        text = f"{fault.place}: {fault.text}" if fault.place else fault.text
        return ParseError(
            text,
            line=line,
            start=start.column,
            end=max(stop, start.column + 1),
            expected=fault.expected,
            nearest=fault.nearest,
            row=start.line + 1,
        )

    def _events(self) -> Iterator[Any]:
        import yaml

        try:
            yield from yaml.parse(self.text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._error(f"this is no YAML: {error.problem or error.context}", mark) from None
        except yaml.reader.ReaderError as error:
            place = error.position if isinstance(error.position, int) else 0
            raise ParseError(f"this is no YAML: character {place + 1} cannot be part of it ({error.reason})") from None
        except UnicodeError:
            raise ParseError("this is no YAML: it holds characters that are no Unicode text") from None

    def _error(self, text: str, mark: Any) -> ParseError:
        if mark is None:
            return ParseError(text)
        line = self.lines[mark.line] if mark.line < len(self.lines) else ""
        return ParseError(text, line=line, start=mark.column, end=mark.column + 1, row=mark.line + 1)

    def document(self) -> Any:
        """The one document."""
        import yaml

        result, count = None, 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                count += 1
                if count > 1:
                    raise self._error("only one document is taken", event.start_mark)
            elif isinstance(event, yaml.NodeEvent):
                result = self._node(event, "")
        return result

    def _node(self, event: Any, path: str) -> Any:
        import yaml

        self.places[path] = event.start_mark, event.end_mark
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self._error("aliases and anchors are not taken; write the value out", event.start_mark)
        if event.tag not in (None, "!"):
            raise self._error(f"tags are not taken: {shown(event.tag)}", event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            plain = event.style is None or event.style == ""
            return None if plain and event.value in NULLS else _Word(event.value, plain)
        if self.depth >= DEPTH:
            raise self._error(f"more than {DEPTH} levels are not taken", event.start_mark)
        self.depth += 1
        found = self._mapping(path) if isinstance(event, yaml.MappingStartEvent) else self._sequence(path)
        self.depth -= 1
        return found

    def _sequence(self, path: str) -> list[Any]:
        import yaml

        found: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            found.append(self._node(event, f"{path}[{len(found) + 1}]"))
        return found

    def _mapping(self, path: str) -> dict[str, Any]:
        import yaml

        found: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self._node(event, f"{path} key")
            if not isinstance(key, _Word):
                raise self._error("a field's name is expected here", event.start_mark)
            if key.text in found:
                raise self._error(f"{shown(key.text)} is given twice", event.start_mark)
            place = _inside(path, key.text)
            self.keys[place] = event.start_mark, event.end_mark
            found[key.text] = self._node(next(self.events), place)
        return found


def _inside(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _masked(line: str, number: int, start: Any, end: Any) -> str:
    """The line of that number without the secret between two marks."""
    if not start.line <= number <= end.line:
        return line
    first = start.column if start.line == number else 0
    last = end.column if end.line == number else len(line)
    return line[:first] + "*" * (last - first) + line[last:]


@dataclass(frozen=True, slots=True)
class _Fault:
    """What the grammar refuses at ``path``; ``key``: it is the name there; ``place``: what the text says of where."""

    path: str
    place: str
    text: str
    key: bool = False
    expected: tuple[str, ...] = ()
    nearest: str = ""


@dataclass
class _Judge:
    """Reads a tree by the grammar and collects what is wrong, and where secrets stand."""

    faults: list[_Fault] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)

    def message(self, message: Message, tree: dict[str, Any], path: str) -> Body:
        """The body of a message, in row order."""
        for name in tree.keys() - message.fields.keys():
            self._unknown(message, name, path)
        found = {
            name: self._value(item, tree[name], _inside(path, name))
            for name, item in message.fields.items()
            if tree.get(name) is not None
        }
        return {name: value for name, value in found.items() if value is not None}

    def _unknown(self, message: Message, name: str, path: str) -> None:
        near = next(iter(difflib.get_close_matches(name, message.fields, 1)), "")
        text = f"there is no field {shown(name)}"
        self.faults.append(_Fault(_inside(path, name), path, text, key=True, nearest=near))

    def _value(self, item: Field, tree: Any, path: str) -> Any:
        if not item.list:
            return self._one(item, tree, path)
        if not isinstance(tree, list):
            self._issue(path, "a list is expected ('- ' before each entry, or [.., ..])")
            return None
        return [self._one(item, one, f"{path}[{number}]") for number, one in enumerate(tree, 1)]

    def _one(self, item: Field, tree: Any, path: str) -> Any:
        if tree is None:
            self._issue(path, "an entry of a list cannot be null")
            return None
        if item.message is not None:
            if isinstance(tree, dict):
                return self.message(item.message, tree, path)
            self._issue(path, f"fields are expected here ({', '.join(list(item.message.fields)[:3])}, ...)")
            return None
        if isinstance(item.type, Secret):
            self.secrets.append(path)
        try:
            return item.leaf.parse(tree.text) if isinstance(tree, _Word) else item.leaf.check(_plain(tree))
        except ValueError as error:
            self._issue(path, str(error), written.choices(item.leaf))
            return None

    def _issue(self, path: str, text: str, expected: tuple[str, ...] = ()) -> None:
        self.faults.append(_Fault(path, path, text, expected=expected))


def _plain(tree: Any) -> Any:
    """A tree as JSON has it; all scalars are texts."""
    if isinstance(tree, dict):
        return {name: _plain(one) for name, one in tree.items()}
    if isinstance(tree, list):
        return [_plain(one) for one in tree]
    return tree.text if isinstance(tree, _Word) else None

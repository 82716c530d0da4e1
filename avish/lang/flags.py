"""linux_command_line mode: an object as paths and values, ``configure pool p1 --servers.1.ip 10.1.1.1``.

A path joins fields by dots; elements of a list are numbered from 1. A boolean's path alone means True; the path of a
message alone means that it is there and says no more. In a block, ``--path -- WORD`` takes the lines behind it as the
value, up to a line WORD (END when no word is given).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from avish.errors import ParseError
from avish.lang import blocks, paste, written
from avish.lang.lex import Token, lex
from avish.schema.model import Field, Message, ObjectType
from avish.schema.types import Bool, Secret, shown

Body = dict[str, Any]
Steps = list[tuple[Field, int]]
"""A path: the fields on it, each with the number of its element, 0 where it is no list."""
PATH = re.compile(r"--.")
NUMBER = re.compile(r"[1-9][0-9]{0,8}")


# --- to text


def format(object_type: ObjectType, body: Body, *, multi_line: bool = False, brief: bool = False) -> str:
    """The command that makes ``body``; ``multi_line``: as a block, one parameter a line. ``brief``: without defaults.

    References are names, secrets their placeholder. Where a text has several lines it is a block in any case. "" when a
    singleton is at its defaults and ``brief``.
    """
    pairs = list(_pairs(object_type, body, "--", brief=brief))
    if not object_type.singleton:  # the name stands on the line already, but a line without any path opens the mode
        pairs = [pair for pair in pairs if pair[0] != "--name"] or [("--name", str(body.get("name", "")))]
    if not pairs:
        return ""
    command = paste.command(object_type, body)
    if not multi_line and all(written.fits_line(text or "") for _, text in pairs):
        return " ".join([command, *map(_parameter, pairs)])
    parameters = [_parameter(pair) for pair in pairs]
    end = written.terminator(parameters)
    return "\n".join([f"{command} << {end}", *parameters, end])


def _parameter(pair: tuple[str, str | None]) -> str:
    path, text = pair
    if text is None:
        return path
    if written.fits_line(text):
        return f"{path} {written.word(text)}"
    end = written.terminator([text])
    return "\n".join([f"{path} -- {end}", text, end])


def _pairs(
    message: Message, body: Body, prefix: str, *, brief: bool, kept: Collection[str] = ()
) -> Iterator[tuple[str, str | None]]:
    """Paths and the text of their values; None: a message with nothing in it."""
    for item, value in written.said(message, body, brief=brief, kept=kept):
        numbered = enumerate(value, 1) if item.list else [(0, value)]
        for number, one in numbered:
            path = f"{prefix}{item.name}.{number}" if number else f"{prefix}{item.name}"
            if item.message is None:
                yield path, written.raw(item, one)
                continue
            inner = list(_pairs(item.message, one, f"{path}.", brief=brief, kept=item.message.key if number else ()))
            yield from inner or [(path, None)]


# --- from text


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A path and its value on a ``line``; ``number`` of that line in a block, else 0."""

    path: Token
    value: Token | None
    line: str
    number: int = 0

    def error(
        self,
        text: str,
        at: Token | None = None,
        *,
        expected: Sequence[str] = (),
        typed: str = "",
        near: Sequence[str] = (),
    ) -> ParseError:
        """The refusal of ``at`` (the path unless given); ``typed`` is compared with ``near`` for what was meant."""
        at = at or self.path
        nearest = next(iter(difflib.get_close_matches(typed, near, 1)), "")
        return ParseError(
            text,
            line=self.line,
            start=at.start,
            end=at.end,
            expected=tuple(expected),
            nearest=nearest,
            row=self.number,
        )


def parse(object_type: ObjectType, tokens: Sequence[Token], line: str = "") -> Body:
    """The body that the words behind the object's name give. Only what they say is in it.

    ParseError marks the place on ``line``: a path that is unknown, given twice, read-only, without the number of an
    element or with a gap in these numbers; a value that is missing, wrong or given to a message.
    """
    return _body(object_type, list(_split(tokens, line)))


def parse_block(object_type: ObjectType, text: str) -> Body:
    """The same of a block, one parameter a line; empty lines and those that begin with ``#`` say nothing."""
    parameters: list[_Parameter] = []
    numbered = iter(enumerate(text.split("\n"), 1))
    for number, line in numbered:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        tokens = _tokens(line, number)
        announced = blocks.announced(tokens)
        if announced is not None and announced.field and _is_path(tokens[0]):
            value = "\n".join(_until(announced.end, numbered, line, number))
            parameters += _split(
                (*_before(tokens, announced.start), Token(value, announced.start, len(line), True)), line, number
            )
        else:
            parameters += _split(tokens, line, number)
    return _body(object_type, parameters)


def _tokens(line: str, number: int) -> tuple[Token, ...]:
    try:
        return lex(line).tokens
    except ParseError as error:
        error.row = number
        raise


def _before(tokens: Sequence[Token], start: int) -> list[Token]:
    return [token for token in tokens if token.start < start]


def _until(end: str, numbered: Iterator[tuple[int, str]], line: str, number: int) -> Iterator[str]:
    """The lines up to ``end``."""
    for _, text in numbered:
        if text.strip() == end:
            return
        yield text
    text = f"the lines of this value have no end: {end} is missing"
    raise ParseError(text, line=line, end=len(line), row=number)


def _is_path(token: Token) -> bool:
    return not token.quoted and PATH.match(token.text) is not None


def _split(tokens: Sequence[Token], line: str, number: int = 0) -> Iterator[_Parameter]:
    """Each path with the value behind it."""
    path: Token | None = None
    for token in tokens:
        if _is_path(token):
            if path is not None:
                yield _Parameter(path, None, line, number)
            path = token
        elif path is not None:
            yield _Parameter(path, token, line, number)
            path = None
        else:
            text = f"a path is expected here (--field), not {shown(token.text)}"
            raise _Parameter(token, None, line, number).error(text)
    if path is not None:
        yield _Parameter(path, None, line, number)


def _body(object_type: ObjectType, parameters: list[_Parameter]) -> Body:
    try:
        return _Builder(object_type, parameters).body()
    except ParseError as error:
        error.line = _masked(object_type, [one for one in parameters if one.line == error.line], error.line)
        raise


def _masked(object_type: ObjectType, parameters: Sequence[_Parameter], line: str) -> str:
    """``line`` with its secrets made unreadable."""
    for one in parameters:
        if one.value is not None and _is_secret(object_type, one):
            line = line[: one.value.start] + "*" * (one.value.end - one.value.start) + line[one.value.end :]
    return line


def _is_secret(object_type: ObjectType, parameter: _Parameter) -> bool:
    try:
        return isinstance(_steps(object_type, parameter)[-1][0].type, Secret)
    except ParseError:
        return False


def _steps(object_type: ObjectType, parameter: _Parameter) -> Steps:
    """The way of a path through the messages; ParseError when there is none."""
    message: Message | None = object_type
    steps: Steps = []
    parts = parameter.path.text[2:].split(".")
    done = "--"
    while parts:
        if message is None:
            raise parameter.error(f"{done.rstrip('.')} is a value and has no fields")
        item = _field(message, parts.pop(0), done, parameter)
        done += item.name
        number = _number(item, parts, done, parameter) if item.list else 0
        done += f".{number}." if number else "."
        steps.append((item, number))
        message = item.message
    return steps


def _field(message: Message, name: str, done: str, parameter: _Parameter) -> Field:
    item = message.fields.get(name)
    if item is None:
        paths = [f"{done}{known.name}" for known in message.fields.values() if not known.read_only]
        text = f"unknown field {shown(name)}" if name else "a path has no field between its dots"
        raise parameter.error(text, expected=paths, typed=f"{done}{name}", near=paths)
    if item.read_only and (done, name) != ("--", "uuid"):
        raise parameter.error(f"{done}{name} cannot be set: {item.help.lower()}")
    return item


def _number(item: Field, parts: list[str], done: str, parameter: _Parameter) -> int:
    """The number of the element, taken from ``parts``."""
    given = parts.pop(0) if parts else ""
    if NUMBER.fullmatch(given):
        return int(given)
    if not given:
        text = f"{item.name} is a list: the number of the element is missing"
    else:
        text = f"{item.name}: {shown(given)} is no number of an element; they count from 1"
    raise parameter.error(text, expected=(f"{done}.1",))


@dataclass
class _Builder:
    """Puts the values of all paths into one body."""

    object_type: ObjectType
    parameters: list[_Parameter]
    first: dict[str, _Parameter] = field(default_factory=dict)
    """The parameter that first named an element, by the element's path."""
    seen: set[str] = field(default_factory=set)

    def body(self) -> Body:
        root: dict[Any, Any] = {}
        for parameter in self.parameters:
            self._take(root, parameter)
        return self._message(self.object_type, root, "--")

    def _take(self, root: dict[Any, Any], parameter: _Parameter) -> None:
        path = parameter.path.text
        steps = _steps(self.object_type, parameter)
        if path in self.seen:
            raise parameter.error(f"{path} is given twice")
        self.seen.add(path)
        *above, last = self._keys(steps, parameter)
        holder = root
        for key in above:
            holder = holder.setdefault(key, {})
        item = steps[-1][0]
        if item.message is not None:
            self._no_value(item.message, parameter)
            holder.setdefault(last, {})
        else:
            holder[last] = _value(item, parameter)

    def _keys(self, steps: Steps, parameter: _Parameter) -> list[str | int]:
        """The names and numbers of a path; who named an element first is noted."""
        keys: list[str | int] = []
        for item, number in steps:
            keys.append(item.name)
            if number:
                keys.append(number)
                self.first.setdefault(_path(keys), parameter)
        return keys

    @staticmethod
    def _no_value(message: Message, parameter: _Parameter) -> None:
        if parameter.value is None:
            return
        path = parameter.path.text
        paths = [f"{path}.{item.name}" for item in message.fields.values() if not item.read_only]
        text = f"{path} is a message: values are given to its fields"
        raise parameter.error(text, parameter.value, expected=paths)

    def _message(self, message: Message, found: dict[Any, Any], prefix: str) -> Body:
        """The body of a message: fields in row order, lists as lists."""
        return {
            name: self._field(item, found[name], f"{prefix}{name}")
            for name, item in message.fields.items()
            if name in found
        }

    def _field(self, item: Field, found: Any, path: str) -> Any:
        if item.list:
            numbers = sorted(found)
            for wanted, number in enumerate(numbers, 1):
                if number != wanted:
                    text = f"{path}.{number} is given but not {path}.{wanted}: elements are numbered without gaps"
                    raise self.first[f"{path}.{number}"].error(text)
            return [self._one(item, found[number], f"{path}.{number}") for number in numbers]
        return self._one(item, found, path)

    def _one(self, item: Field, found: Any, path: str) -> Any:
        return found if item.message is None else self._message(item.message, found, f"{path}.")


def _path(keys: Sequence[str | int]) -> str:
    return "--" + ".".join(map(str, keys))


def _value(item: Field, parameter: _Parameter) -> Any:
    """The value of a leaf's parameter."""
    leaf, token = item.leaf, parameter.value
    expected = written.choices(leaf) or (leaf.describe(),)
    if token is None:
        if isinstance(leaf, Bool):
            return True
        raise parameter.error(f"{parameter.path.text} needs a value", expected=expected)
    try:
        return leaf.parse(token.text)
    except ValueError as error:
        told = f"{item.name}: {error}"
        raise parameter.error(
            told, token, expected=expected, typed=token.text.lower(), near=written.choices(leaf)
        ) from None

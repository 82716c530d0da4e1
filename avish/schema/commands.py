"""The commands of the grammar: verb paths that ask or act and remember nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from avish.schema.model import Column, Command, Field
from avish.schema.place import Place, known
from avish.schema.types import Ref

KEYS = {
    "path",
    "help",
    "run",
    "api",
    "method",
    "does",
    "refused",
    "asks",
    "args",
    "options",
    "filters",
    "hidden",
    "columns",
    "live",
}
WAYS = ("run", "does", "refused")
METHODS = ("GET", "POST")
MakeField = Callable[[str, Any, Place], Field]
Words = Mapping[str, str]
"""The words of object types, and the types they stand for."""


def commands_of(files: dict[str, Any], words: Words, make: MakeField) -> list[Command]:
    """The commands of the YAML ``files``, those that are not offered last; SchemaError names file and path."""
    result: dict[tuple[str, ...], Command] = {}
    for name, entries in files.items():
        for number, entry in enumerate(entries or []):
            for raw in _each(entry):
                command = _command(raw, Place(name, f"[{number}]"), words, make)
                if command.path in result:
                    raise (Place(name, f"[{number}]") / "path").error(f"{raw['path']!r} stands here twice")
                result[command.path] = command
    return sorted(result.values(), key=lambda command: command.hidden)


def _each(entry: Any) -> list[Any]:
    """An entry with ``paths`` stands for one with each ``path``, none of them offered."""
    if not isinstance(entry, Mapping) or "paths" not in entry:
        return [entry]
    rest = {key: value for key, value in entry.items() if key != "paths"}
    return [{"hidden": True, **rest, "path": path} for path in entry["paths"]]


def _command(raw: Any, place: Place, words: Words, make: MakeField) -> Command:
    known(raw, KEYS, place)
    if not all(raw.get(key) for key in ("path", "help")) or sum(key in raw for key in WAYS) != 1:
        raise place.error(f"path, help and one of {', '.join(WAYS)} are needed")
    if raw.get("method", "GET") not in METHODS:
        raise place.error(f"method: {raw['method']!r} is none of {', '.join(METHODS)}")
    path = tuple(raw["path"].split())
    if problem := _problem(path, raw.get("args") or {}, words):
        raise (place / "path").error(f"{raw['path']!r}: {problem}")
    return Command(
        path=path,
        help=raw["help"],
        run=raw.get("run", ""),
        api=raw.get("api") or _api_path(path),
        method=raw.get("method", "GET"),
        does=raw.get("does", ""),
        refused=raw.get("refused", ""),
        asks=raw.get("asks", ""),
        hidden=bool(raw.get("hidden", False)),
        args={field.name: field for field in _args(path, raw.get("args") or {}, place, words, make)},
        options={name: make(name, spec, place / name) for name, spec in (raw.get("options") or {}).items()},
        filters={name: make(name, spec, place / name) for name, spec in (raw.get("filters") or {}).items()},
        live=bool(raw.get("live", False)),
        columns=tuple(Column(title, path) for title, path in (raw.get("columns") or {}).items()),
    )


def _problem(path: tuple[str, ...], args: Mapping[str, Any], words: Words) -> str:
    """What is wrong with the path of a command, or ""."""
    if path[0].startswith("<"):
        return "a command begins with a verb"
    for before, word in itertools.pairwise(path):
        if word.startswith("<") and word[1:-1] not in args and words.get(before) is None:
            return "an argument is described under args, or stands behind its object's own word"
        if word.startswith("<") and word[1:-1] not in args and before != word[1:-1]:
            return f"the name of a {before} is written <{before}>"
    if path[0] == "show" and len(path) > 1 and path[1] in words and len(path) < 4:
        return "is made from the object already"
    return ""


def _args(
    path: tuple[str, ...], args: Mapping[str, Any], place: Place, words: Words, make: MakeField
) -> Iterator[Field]:
    named = [word[1:-1] for word in path if word.startswith("<")]
    for name in named:
        if name in args:
            yield make(name, args[name], place / "args" / name)
        else:
            yield Field(name, "One of them, by name", type=Ref(words[name]))
    for name in args:
        if name not in named:
            raise (place / "args" / name).error("the path has no such argument")


def _api_path(path: tuple[str, ...]) -> str:
    """The vendor's naming rule: the words behind the argument, run together."""
    behind = path[1:]
    if any(word.startswith("<") for word in path):
        first = [word.startswith("<") for word in path].index(True)
        behind = path[first + 1 :]
    return "".join(word for word in behind if not word.startswith("<"))

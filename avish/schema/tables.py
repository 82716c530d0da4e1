"""The small tables of the grammar: the shell's words, the system's objects, the nouns that are not carried."""

from __future__ import annotations

from typing import Any

from avish.errors import SchemaError
from avish.schema.model import Field, Message, ObjectType
from avish.schema.place import Place, known


def shell_words(raw: dict[str, Any]) -> dict[str, str]:
    """The shell's own words and their help."""
    for word, text in raw.items():
        if not isinstance(text, str) or not text:
            raise SchemaError(f"shell.yaml: {word}: help is missing")
    return raw


def outside_nouns(raw: Any, words: set[str]) -> dict[str, str]:
    """Nouns and why they are no part of the product; ``words``: those that are."""
    result: dict[str, str] = {}
    for number, group in enumerate(raw):
        place = Place("outside.yaml", f"[{number}]")
        known(group, {"reason", "nouns"}, place)
        if not group.get("reason") or not group.get("nouns"):
            raise place.error("reason and nouns are needed")
        for noun in group["nouns"]:
            if noun in words or noun in result:
                raise place.error(f"{noun!r} is an object type, or stands here twice")
            result[noun] = group["reason"]
    return result


def system_objects(files: dict[str, Any], objects: dict[str, ObjectType]) -> dict[str, list[dict[str, Any]]]:
    """The objects of a fresh store by type; every field known, every value one that its type takes.

    Two short forms are written out: a bare value for an element of a list of messages, and elements in groups.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for file, raw in files.items():
        for name, bodies in _system_objects(file, raw or {}, objects).items():
            found.setdefault(name, []).extend(bodies)
    return found


def _system_objects(file: str, raw: dict[str, Any], objects: dict[str, ObjectType]) -> dict[str, list[dict[str, Any]]]:
    result: dict[str, list[dict[str, Any]]] = {}
    for name, bodies in raw.items():
        place = Place(file, name)
        if name not in objects:
            raise place.error("unknown object")
        if objects[name].singleton and len(bodies) != 1:
            raise place.error("there is exactly one of it")
        for body in bodies:
            if not isinstance(body, dict):
                raise place.error("a mapping is expected here")
            if not objects[name].singleton and not body.get("name"):
                raise place.error("name is missing")
            complete = _written_out(body, objects[name], place / str(body.get("name", "")))
            result.setdefault(name, []).append(complete)
    return result


def _written_out(body: Any, message: Message, place: Place) -> dict[str, Any]:
    """The body without short forms; SchemaError for unknown fields and for values that their types refuse."""
    if not isinstance(body, dict):
        raise place.error("a mapping is expected here")
    result: dict[str, Any] = {}
    for key, value in body.items():
        if key not in message.fields:
            raise (place / key).error("unknown field")
        field = message.fields[key]
        if field.list:
            result[key] = [_one(field, one, place / key) for one in _elements(field, value, place / key)]
        else:
            result[key] = _one(field, value, place / key)
    return result


def _elements(field: Field, value: Any, place: Place) -> list[Any]:
    """``{each: resource, by: type, READ_ACCESS: [A, B]}`` stands for two elements with type READ_ACCESS,
    ``{each: resource, values: [A, B]}`` for two with nothing else.
    """
    if not isinstance(value, dict):
        return list(value)
    if field.message is not None and value.keys() == {"each", "values"}:
        return [{value["each"]: one} for one in value["values"]]
    if field.message is None or not value.keys() >= {"each", "by"}:
        raise place.error("a list is expected here, or a mapping with each and by")
    groups = ((group, one) for group in value if group not in ("each", "by") for one in value[group])
    return [{value["by"]: group, value["each"]: one} for group, one in groups]


def _one(field: Field, value: Any, place: Place) -> Any:
    if field.message is not None:
        short = field.list and field.message.bare and not isinstance(value, dict)
        return _written_out({field.message.bare: value} if short else value, field.message, place)
    try:
        field.leaf.check(value)
    except ValueError as error:
        raise place.error(str(error)) from None
    return value

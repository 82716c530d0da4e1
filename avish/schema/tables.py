"""The small tables of the grammar: the shell's words, the system's objects, the nouns that are not carried."""

from __future__ import annotations

from typing import Any

from avish.errors import SchemaError
from avish.schema.model import Message, ObjectType
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


def system_objects(raw: dict[str, Any], objects: dict[str, ObjectType]) -> dict[str, list[dict[str, Any]]]:
    """The objects of a fresh store by type; every field known, every value one that its type takes."""
    for name, bodies in raw.items():
        place = Place("system_defaults.yaml", name)
        if name not in objects:
            raise place.error("unknown object")
        if objects[name].singleton and len(bodies) != 1:
            raise place.error("there is exactly one of it")
        for body in bodies:
            if not isinstance(body, dict):
                raise place.error("a mapping is expected here")
            if not objects[name].singleton and not body.get("name"):
                raise place.error("name is missing")
            _known_fields(body, objects[name], place / str(body.get("name", "")))
    return raw


def _known_fields(body: Any, message: Message, place: Place) -> None:
    """Refuse a body with unknown fields or with values that their types refuse."""
    if not isinstance(body, dict):
        raise place.error("a mapping is expected here")
    for key, value in body.items():
        if key not in message.fields:
            raise (place / key).error("unknown field")
        item = message.fields[key]
        for one in value if item.list else [value]:
            if item.message is not None:
                _known_fields(one, item.message, place / key)
                continue
            try:
                item.leaf.check(one)
            except ValueError as error:
                raise (place / key).error(str(error)) from None

"""Stored bodies as the REST API shows them: references and url absolute with their names, secrets hidden."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from avish.config.config import Body, Config
from avish.errors import ValidationError
from avish.schema.model import Field, Message, ObjectType
from avish.schema.types import SENSITIVE, Ref, Secret

Show = Callable[[str], str]
"""From a stored reference to the one that is shown."""


@dataclass(slots=True)
class _Plan:
    """The fields of a message that are not shown as they are stored."""

    refs: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    nested: list[tuple[str, _Plan]] = field(default_factory=list)
    dull: bool = False


class Renderer:
    """Renders bodies; what to do for a type is worked out once."""

    def __init__(self) -> None:
        self._plans: dict[int, tuple[Message, _Plan]] = {}

    def body(self, config: Config, object_type: ObjectType, stored: Body, base: str) -> Body:
        """The stored body with absolute references; ``base`` is "https://<host>"."""

        def show(ref: str) -> str:
            target = config.target(ref) if ref.startswith("/api/") else None
            return ref if target is None else f"{base}{ref}#{target.get('name', '')}"

        shown = _shown(stored, self._plan(object_type), show)
        url = f"{base}/api/{object_type.name}/{stored['uuid']}"
        url += f"#{stored['name']}" if stored.get("name") else ""
        return {"url": url, **shown}

    def plain(self, object_type: ObjectType, stored: Body, show: Show) -> Body:
        """The stored body with each reference as ``show`` has it, and secrets hidden."""
        return _shown(stored, self._plan(object_type), show)

    def targets(self, object_type: ObjectType, stored: Body) -> list[str]:
        """The stored references of a body, each as often as it stands there."""
        found: list[str] = []

        def show(ref: str) -> str:
            found.append(ref)
            return ref

        _shown(stored, self._plan(object_type), show)
        return found

    def _plan(self, message: Message) -> _Plan:
        known = self._plans.get(id(message))
        if known is not None:
            return known[1]
        plan = _Plan()
        self._plans[id(message)] = (message, plan)
        for item in message.fields.values():
            self._add(plan, item)
        plan.dull = not (plan.refs or plan.secrets or plan.nested)
        return plan

    def _add(self, plan: _Plan, item: Field) -> None:
        if isinstance(item.type, Ref):
            plan.refs.append(item.name)
        elif isinstance(item.type, Secret):
            plan.secrets.append(item.name)
        elif item.message is not None:
            inner = self._plan(item.message)
            if not inner.dull:
                plan.nested.append((item.name, inner))


def _shown(value: Body, plan: _Plan, show: Show) -> Body:
    result = dict(value)
    for name in plan.refs:
        if name in result:
            result[name] = _each(result[name], show)
    for name in plan.secrets:
        if result.get(name):
            result[name] = SENSITIVE
    for name, inner in plan.nested:
        if name in result:
            result[name] = _each(result[name], partial(_shown, plan=inner, show=show))
    return result


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    return [change(one) for one in value] if isinstance(value, list) else change(value)


def selected(body: Body, fields: Iterable[str]) -> Body:
    """Only ``fields`` of a body, and what identifies it."""
    wanted = {"url", "uuid", "name", *fields}
    return {name: value for name, value in body.items() if name in wanted}


def without_defaults(message: Message, body: Body) -> Body:
    """A body without the fields that have the values they have by themselves."""
    result: Body = {}
    for name, value in body.items():
        field = message.fields.get(name)
        if field is not None and field.default is not None and field.default == value:
            continue
        if field is not None and field.message is not None:
            result[name] = _each(value, partial(without_defaults, field.message))
        else:
            result[name] = value
    return result


def patched(body: Body, patch: Any) -> Body:
    """The vendor's PATCH: {"add": {..}, "replace": {..}, "delete": {..}}, one level deep.

    Lists get, become or lose entries; other fields are set or (delete) removed.
    """
    if isinstance(patch, dict) and set(patch) == {"json_patch"}:
        return json_patched(body, patch["json_patch"])
    if not isinstance(patch, dict) or not patch or any(key not in ("add", "replace", "delete") for key in patch):
        raise ValidationError('a PATCH needs a body such as {"add": {field: value}}; also "replace" and "delete"')
    result = dict(body)
    for verb, fields in patch.items():
        if not isinstance(fields, dict):
            raise ValidationError(f'"{verb}" of a PATCH holds fields: {{"{verb}": {{field: value}}}}')
        for name, value in fields.items():
            _patch(result, verb, name, value)
    return result


def _patch(body: Body, verb: str, name: str, value: Any) -> None:
    present = body.get(name)
    if verb == "delete" and isinstance(present, list) and value not in (None, ""):
        gone = value if isinstance(value, list) else [value]
        body[name] = [one for one in present if not any(_same(one, other) for other in gone)]
    elif verb == "delete":
        body.pop(name, None)
    elif verb == "add" and isinstance(present, list):
        fresh = value if isinstance(value, list) else [value]
        body[name] = present + [one for one in fresh if one not in present]
    else:
        body[name] = value


def json_patched(body: Body, steps: Any) -> Body:
    """A JSON patch (RFC 6902): add, replace and remove at paths such as /servers/0/ratio."""
    result = copy.deepcopy(body)
    if not isinstance(steps, list):
        raise ValidationError('a "json_patch" is a list of {"op": "add", "path": "/servers/-", "value": ..}')
    for number, step in enumerate(steps):
        try:
            _step(
                result, step["op"], [_unescaped(part) for part in str(step["path"]).split("/")[1:]], step.get("value")
            )
        except (KeyError, IndexError, TypeError, ValueError):
            said = {name: step.get(name) for name in ("op", "path")} if isinstance(step, dict) else "it is no object"
            raise ValidationError(f"json_patch[{number}] cannot be carried out: {said!r:.200}") from None
    return result


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def _step(body: Any, op: str, path: list[str], value: Any) -> None:
    *way, last = path
    for part in way:
        body = body[int(part)] if isinstance(body, list) else body[part]
    if op not in ("add", "replace", "remove"):
        raise ValueError(op)
    if isinstance(body, list):
        place = len(body) if last == "-" and op == "add" else int(last)
        if op == "add" and 0 <= place <= len(body):
            body.insert(place, value)
        elif op == "replace":
            body[place] = value
        else:
            del body[place]
    elif op == "remove":
        del body[last]
    else:
        body[last] = value


def _same(entry: Any, wanted: Any) -> bool:
    """Whether a list entry is meant: equal, or an object with (at least) the fields that are given."""
    if isinstance(entry, dict) and isinstance(wanted, dict):
        return all(name in entry and _same(entry[name], value) for name, value in wanted.items())
    return bool(entry == wanted)

"""The REST API as OpenAPI 3, made from the grammar: what is described is what is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avish.schema import types
from avish.schema.model import Field, Message, ObjectType, Schema

Json = dict[str, Any]
VERSION = "3.0.3"
JSON = "application/json"
ERROR = {"$ref": "#/components/schemas/Error"}
COLLECTION = (
    ("name", "string", "Only the object of this name"),
    ("uuid", "string", "Only the object of this uuid"),
    ("page", "integer", "Which page, from 1"),
    ("page_size", "integer", "Objects of a page; -1: all"),
    ("refers_to", "string", "Only objects that refer to this one: type:uuid"),
    ("referred_by", "string", "Only objects that this one refers to: type:uuid"),
)
SHAPE = (
    ("fields", "string", "Only these fields, separated by commas"),
    ("include_name", "string", "References with #name"),
    ("skip_default", "boolean", "Leave out fields that have the value they have by themselves"),
    ("join_subresources", "string", "runtime: with the state beside each object"),
)
OTHERS: tuple[tuple[str, str, str], ...] = (
    ("/api/cluster", "get", "The controllers"),
    ("/api/cluster/version", "get", "Release of the controller"),
    ("/api/cluster/runtime", "get", "State of the controllers"),
    ("/api/useraccount", "get", "The own account"),
    ("/api/useraccount", "put", "Change the own password: old_password and password"),
    ("/api/user-token", "post", "A token in place of the password, good for some hours"),
    ("/api/transaction", "post", "Many writes, all or none"),
    ("/api/compare", "get", "What leads from one revision to another"),
    ("/api/commits", "get", "Revisions, newest first"),
    ("/api/rollback", "post", "Back to a revision: to, or back by so many"),
    ("/api/confirm", "get", "The commit that awaits its confirmation"),
    ("/api/files", "get", "Captures and exports"),
    ("/api/audit", "get", "Logins, changes and refusals, newest first"),
)


class OpenApi:
    """Makes the description, once."""

    def __init__(self, schema: Schema, version: str) -> None:
        self._schema, self._version = schema, version
        self._schemas: dict[str, Json] = {}
        self._names: dict[int, str] = {}

    def document(self) -> Json:
        """The whole of it."""
        paths: dict[str, Json] = {"/login": {"post": _login()}, "/logout": {"post": _plain("Log out")}}
        paths["/api/initial-data"] = {"get": {**_plain("Release of the controller"), "security": []}}
        for path, method, text in OTHERS:
            paths.setdefault(path, {})[method] = _plain(text, body=method != "get")
        for kind in self._schema.objects():
            paths |= self._paths(kind)
        for path, item in paths.items():
            for method, operation in item.items():
                if method != "parameters":
                    operation["operationId"] = f"{method}-{path.strip('/').replace('/', '-')}".replace("{", "").replace(
                        "}", ""
                    )
        return {
            "openapi": VERSION,
            "info": {"title": "avish", "version": self._version, "description": "Objects, runtime and commits."},
            "paths": paths,
            "components": {"schemas": {**_fixed(), **self._schemas}, "securitySchemes": _security()},
            "security": [{"session": [], "csrf": []}, {"basic": []}],
        }

    def _paths(self, kind: ObjectType) -> dict[str, Json]:
        body = self._message(kind, kind.title or kind.name)
        one = self._one(kind, body)
        if kind.singleton:
            return {f"/api/{kind.name}": one}
        found = {
            f"/api/{kind.name}": {
                "get": _operation(kind, "List", _collection(body), _query(*COLLECTION, *SHAPE)),
                "post": _operation(kind, "Make", body, given=body, status="201"),
            },
            f"/api/{kind.name}/{{uuid}}": {"parameters": [_UUID], **one, "delete": _operation(kind, "Delete", None)},
        }
        for command in self._schema.commands:
            if command.run and f"<{kind.name}>" in command.path and command.api:
                method = command.method.lower()
                item = found.setdefault(f"/api/{kind.name}/{{uuid}}/{command.api}", {"parameters": [_UUID]})
                item[method] = _plain(command.help)
        return found

    def _one(self, kind: ObjectType, body: Json) -> Json:
        patch = {"$ref": "#/components/schemas/Patch"}
        return {
            "get": _operation(kind, "Show", body, _query(*SHAPE)),
            "put": _operation(kind, "Replace", body, given=body),
            "patch": _operation(kind, "Change", body, given=patch),
        }

    def _message(self, message: Message, name: str) -> Json:
        """A reference to the schema of a message, which is made when it is met first."""
        known = self._names.get(id(message))
        if known is None:
            known = name
            while known in self._schemas or known in _fixed():
                known += "_"
            self._names[id(message)] = known
            self._schemas[known] = {}
            fields = {field.name: self._field(field, known) for field in message.fields.values()}
            self._schemas[known] = {"type": "object", "properties": fields, "additionalProperties": True}
        return {"$ref": f"#/components/schemas/{known}"}

    def _field(self, field: Field, above: str) -> Json:
        if field.message is not None:
            inner = self._message(field.message, field.message.name or f"{above}.{field.name}")
        else:
            inner = _leaf(field.leaf)
        if field.list:
            limits = {"maxItems": field.max_items} if field.max_items else {}
            return {"type": "array", "items": inner, "description": field.help, **limits}
        about: Json = {"description": field.help}
        if field.default is not None and not isinstance(field.type, types.Ref) and field.message is None:
            about["default"] = field.default
        if field.read_only:
            about["readOnly"] = True
        return {"allOf": [inner], **about} if "$ref" in inner else {**inner, **about}


_LEAVES: tuple[tuple[type[types.Type], Json], ...] = (
    (types.Bool, {"type": "boolean"}),
    (types.Prefix, {"$ref": "#/components/schemas/IpAddrPrefix"}),
    (types.Ip, {"$ref": "#/components/schemas/IpAddr"}),
    (types.Secret, {"type": "string", "format": "password"}),
    (types.Name, {"type": "string", "minLength": 1, "maxLength": 255}),
)


def _leaf(leaf: types.Type) -> Json:
    if isinstance(leaf, types.Enum):
        return {"type": "string", "enum": list(leaf.values)}
    if isinstance(leaf, types.Number):
        return _number(leaf)
    return next((dict(made) for kind, made in _LEAVES if isinstance(leaf, kind)), {"type": "string"})


def _number(leaf: types.Number) -> Json:
    kind = "number" if leaf.real else "integer"
    if leaf.allowed:
        return {"type": kind, "enum": list(leaf.allowed)}
    limits = {"minimum": leaf.low, "maximum": leaf.high}
    plain = {"type": kind, **{name: value for name, value in limits.items() if value is not None}}
    if not leaf.extra:
        return plain
    special = [{"type": "string" if isinstance(one, str) else kind, "enum": [one]} for one in leaf.extra]
    return {"anyOf": [plain, *special]}


_UUID = {"name": "uuid", "in": "path", "required": True, "schema": {"type": "string"}, "description": "Its identifier"}


def _query(*wanted: tuple[str, str, str]) -> list[Json]:
    return [{"name": name, "in": "query", "schema": {"type": kind}, "description": text} for name, kind, text in wanted]


def _collection(body: Json) -> Json:
    results = {"type": "array", "items": body}
    properties = {"count": {"type": "integer"}, "results": results, "next": {"type": "string"}}
    return {"type": "object", "required": ["count", "results"], "properties": properties}


def _operation(
    kind: ObjectType, verb: str, answer: Json | None, query: list[Json] | None = None, *, given: Json | None = None,
    status: str = "200",
) -> Json:  # fmt: skip
    made: Json = {"tags": [kind.name], "summary": f"{verb}: {kind.help}", "responses": _responses(answer, status)}
    if query:
        made["parameters"] = query
    if given is not None:
        made["requestBody"] = {"required": True, "content": {JSON: {"schema": given}}}
    return made


def _responses(answer: Json | None, status: str) -> Json:
    fine: Json = {"description": "Done"}
    if answer is None:
        return {"204": fine, "200": {"description": "What would be done (dryrun)"}, "default": _refused()}
    return {status: {**fine, "content": {JSON: {"schema": answer}}}, "default": _refused()}


def _refused() -> Json:
    return {
        "description": "Refused",
        "content": {JSON: {"schema": ERROR}, "text/plain": {"schema": {"type": "string"}}},
    }


def _plain(text: str, *, body: bool = False) -> Json:
    fine = {"description": "Done", "content": {JSON: {"schema": {}}, "application/x-ndjson": {"schema": {}}}}
    made: Json = {"summary": text, "responses": {"200": fine, "201": fine, "default": _refused()}}
    if body:
        made["requestBody"] = {"content": {JSON: {"schema": {"type": "object", "additionalProperties": True}}}}
    return made


def _login() -> Json:
    secret = {"username": {"type": "string"}, "password": {"type": "string"}, "token": {"type": "string"}}
    schema = {"type": "object", "required": ["username"], "properties": secret}
    form = {"application/x-www-form-urlencoded": {"schema": schema}, JSON: {"schema": schema}}
    return {**_plain("Log in"), "security": [], "requestBody": {"required": True, "content": form}}


def _security() -> Mapping[str, Json]:
    return {
        "session": {"type": "apiKey", "in": "cookie", "name": "sessionid"},
        "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRFToken"},
        "basic": {"type": "http", "scheme": "basic"},
    }


def _fixed() -> dict[str, Json]:
    address = {"addr": {"type": "string"}, "type": {"type": "string", "enum": ["V4", "V6"]}}
    ip = {"type": "object", "required": ["addr"], "properties": address}
    fields = {"type": "object", "additionalProperties": True}
    steps = {"type": "array", "items": {"type": "object", "additionalProperties": True}}
    issue = {"type": "object", "properties": {name: {"type": "string"} for name in ("path", "text", "severity")}}
    error = {"error": {"type": "string"}, "issues": {"type": "array", "items": issue}}
    return {
        "Error": {"type": "object", "required": ["error"], "properties": error},
        "IpAddr": ip,
        "IpAddrPrefix": {
            "type": "object", "required": ["ip_addr", "mask"],
            "properties": {"ip_addr": {"$ref": "#/components/schemas/IpAddr"}, "mask": {"type": "integer"}},
        },
        "Patch": {
            "type": "object",
            "properties": {"add": fields, "replace": fields, "delete": fields, "json_patch": steps},
        },
    }  # fmt: skip

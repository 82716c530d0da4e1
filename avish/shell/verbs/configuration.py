"""The whole configuration: as commands that make it again, and as a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from avish.config.ordered import ordered
from avish.config.wellknown import ADMIN_TENANT, ENGINE
from avish.errors import ParseError, ValidationError
from avish.lang import flags, paste, script, written
from avish.schema.model import Message, ObjectType
from avish.schema.types import Ref, ref_name
from avish.shell import render
from avish.shell.effects import Call, Document, Print, ReadFile, Warn, WriteFile
from avish.shell.rehearsal import kernel_lines
from avish.shell.session import ALL_TENANTS, Order, Run, Session
from avish.shell.showing import answer

Body = dict[str, Any]
Named = tuple[ObjectType, Body]
FORBIDDEN = 403


# --- as commands


def running_config(session: Session, order: Order) -> Run:
    """Everything that a fresh controller does not have, in an order in which each object finds what it refers to.

    In tenant admin and in the view of all tenants that is everybody's, elsewhere what the tenant has.
    """
    kinds = _kinds(session, order.options.get("--obj_type", ""))
    tenant, words = order.options.get("--tenant", ""), _words(order.options.get("--search", ""))
    if tenant:
        yield from session.existing(session.tree.schema.object("tenant"), tenant)
    elif session.tenant not in (ADMIN_TENANT, ALL_TENANTS):
        tenant = session.tenant
    found: list[Named] = []
    secret: list[str] = []
    for kind in kinds:
        query = {"include_name": "", "page_size": "-1", "founded": "1", **session.place()}
        call = Call("GET", f"/api/{kind.name}", query, tenant=tenant or ALL_TENANTS)
        try:
            reply = yield from session.ask(call)
        except ValidationError as error:
            if error.http_status != FORBIDDEN:
                raise
            secret.append(kind.word)
            continue
        bodies = [reply.body] if kind.singleton else reply.body["results"]
        found += [(kind, body) for body in bodies if _wanted(body, tenant)]
    if secret:
        yield Warn(f"left out, for you may not read it: {', '.join(secret)}")
    yield Document([{kind.name: body} for kind, body in found], order.walk.form, order.pipes)
    if not order.walk.form:
        yield Print("\n\n".join(_commands(session, found, words)), order.pipes, page=True)


def _commands(session: Session, found: list[Named], words: list[str]) -> Iterator[str]:
    """The text of each object that has one of the words; each tenant's where one works in it."""
    here = session.tenant
    for tenant, objects in _groups(found):
        texts = (_text(session, kind, body) for kind, body in in_order(objects))
        for text in texts:
            if words and not any(word in text for word in words):
                continue
            if tenant != here:
                yield f"switchto tenant {written.word(tenant)}"
                here = tenant
            yield text
    if here != session.tenant:
        yield f"switchto tenant {written.word(session.tenant)}"


def _groups(found: list[Named]) -> Iterator[tuple[str, list[Named]]]:
    """The objects by tenant, the provider's first; the engines, which another controller may not have, at the end."""
    groups: dict[str, list[Named]] = {ADMIN_TENANT: []}
    engines = []
    for kind, body in found:
        if ENGINE in (kind.name, kind.names):
            engines.append((kind, body))
        else:
            groups.setdefault(_tenant(body), []).append((kind, body))
    yield from groups.items()
    yield ADMIN_TENANT, engines


def _tenant(body: Body) -> str:
    return ref_name(str(body.get("tenant_ref", ADMIN_TENANT)))


def _kinds(session: Session, wanted: str) -> list[ObjectType]:
    schema = session.tree.schema
    if not wanted:
        return schema.objects()
    by_word = {kind.lower(): name for name, (_, word, _) in schema.index.items() for kind in (name, word)}
    by_word |= {kind.title.lower(): kind.name for kind in schema.objects()}
    names = [word.strip() for word in wanted.split(",") if word.strip()]
    for name in names:
        if name.lower() not in by_word:
            raise ParseError(f"--obj_type: there is no object type {name!r}", expected=tuple(sorted(schema.index)))
    return [schema.object(by_word[name.lower()]) for name in names]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _wanted(body: Body, tenant: str) -> bool:
    """Not what a fresh controller has by itself, and not what is no object of the store."""
    if "_last_modified" not in body or body.get("_founded"):
        return False
    return not tenant or _tenant(body) == tenant


def _text(session: Session, kind: ObjectType, body: Body) -> str:
    mode = session.settings.mode
    if mode == "script":
        return f"{paste.command(kind, body)} << END\n{script.format(kind, render.configured(kind, body)).rstrip()}\nEND"
    if mode == "linux_command_line":
        return flags.format(kind, body, multi_line=session.settings.multi_line, brief=True)
    return "\n".join(paste.lines(kind, body))


def in_order(objects: list[Named]) -> Iterator[Named]:
    """Each object behind those it refers to; where they refer to each other, as they stand."""
    by_name = {(kind.name, str(body.get("name", ""))): (kind, body) for kind, body in objects}
    known = by_name.keys()
    keys = ordered(known, lambda key: [target for target in _targets(*by_name[key]) if target in known])
    return (by_name[key] for key in keys)


def _targets(message: Message, body: Body) -> Iterator[tuple[str, str]]:
    """(type, name) of what a body refers to; a debug object needs the object whose name it has."""
    if isinstance(message, ObjectType) and message.names:
        yield message.names, str(body.get("name", ""))
    for name, value in body.items():
        item = message.fields.get(name)
        if item is None:
            continue
        for one in value if item.list else [value]:
            if item.message is not None:
                yield from _targets(item.message, one)
            elif isinstance(item.type, Ref) and not item.type.loose:
                yield item.type.to, ref_name(str(one))


# --- as a file


def export(session: Session, order: Order) -> Run:
    """Write the configuration, or a virtual service with what it refers to."""
    query = {}
    if "virtualservice" in order.args:
        kind = session.tree.schema.object("virtualservice")
        query = {"virtualservice": (yield from session.existing(kind, order.args["virtualservice"]))["name"]}
    reply = yield from session.ask(Call("GET", "/api/configuration/export", query))
    path = order.args["file"]
    yield WriteFile(path, json.dumps(reply.body, indent=2, ensure_ascii=False) + "\n", secret=True)
    done = "would write" if session.rehearsal is not None else "Completed writing"
    yield Print(f"{done} the export configuration to {path}")


def document(path: str, text: str) -> Any:
    """The JSON of a file; ValidationError says why it is none."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValidationError(f"{path} is nested too deeply to be a configuration") from None
    except ValueError as error:
        reason = "a number has more than 4,300 digits" if "integer string conversion" in str(error) else error
        raise ValidationError(f"{path} is no JSON: {reason}") from None


def _once(pairs: list[tuple[str, Any]]) -> Body:
    """An object, no key of which stands twice: one of the two would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for number, key in enumerate(keys) if key in keys[:number])
        raise ValueError(f"{twice!r} stands twice in one object")
    return found


def import_file(session: Session, order: Order) -> Run:
    """Take over a configuration from a file."""
    if session.candidate is not None or session.workspace is not None:
        raise ValidationError("an import is a commit of its own; save or cancel what is open first")
    path = order.args["file"]
    content = yield from session.ask_user(ReadFile(path))
    config = document(path, content.body)
    dry = session.rehearsal is not None or bool(order.options.get("dry_run"))
    query = {"dryrun": "1", **session.place()} if dry else {}
    if order.options.get("keep_uuid"):
        query["keep_uuid"] = "1"
    call = Call("POST", "/api/configuration/import", query, config, comment=order.options.get("comment", ""))
    reply = yield from session.ask(call)
    if session.rehearsal is not None:
        session.rehearsal.token = reply.body["token"]
    head = "Nothing was imported; it would be:" if dry else "Successfully imported the configuration file"
    yield from answer(reply.body, "\n".join([head, *_taken(reply.body), *kernel_lines(reply.body)]), order.walk)
    yield from session.warn(reply)


def _taken(body: Mapping[str, Any]) -> Iterator[str]:
    """Tables of what was taken over and what was not."""
    counts = {word: body.get(word, {}) for word in ("created", "updated", "unchanged")}
    types = dict.fromkeys(kind for found in counts.values() for kind in found)
    rows = [[kind, *(str(found.get(kind, 0)) for found in counts.values())] for kind in types]
    yield render.box(("Type", "Created", "Updated", "Unchanged"), rows)
    if left := body.get("left_out"):
        yield "Left out:"
        rows = [[one["type"], str(one["count"]), render.wrapped(one["reason"])] for one in left]
        yield render.box(("Type", "Count", "Reason"), rows)
    if fields := body.get("fields_left_out"):
        yield "Fields left out:"
        rows = [[one["type"], one["field"], str(one["count"]), render.wrapped(one["reason"])] for one in fields]
        yield render.box(("Type", "Field", "Count", "Reason"), rows)

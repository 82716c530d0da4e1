"""Show commands: what the controller answers, as a table, as YAML, as paths or as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avish.lang.tree import Op
from avish.lang.walk import Walk
from avish.schema.model import ObjectType
from avish.shell import listing, render
from avish.shell.candidate import Body
from avish.shell.effects import Call, Document, Print, Reply, Rows
from avish.shell.listing import NEXT
from avish.shell.session import Order, Run, Session, pipes_of

COUNT = ("count",)
PAGES_AFTER = 5000
PAGE = 500
"""Objects of a list that are asked for at once, where a person looks at the first page."""


def show(session: Session, op: Op, walk: Walk) -> Run:
    """``show pool`` and ``show pool p1``."""
    if walk.node.end and walk.node.end[0][0] == "run":
        return  # the name was an argument of the command behind it
    object_type = session.tree.schema.object(op[1])
    if op[0] == "list" and not object_type.singleton:
        yield from _list(session, object_type, walk)
        return
    body = yield from session.existing(object_type, op[2] if op[0] == "show" else "")
    yield from answer(body, object_text(session, object_type, body), walk)


def object_text(session: Session, object_type: ObjectType, body: Body) -> str:
    """An object as this shell's mode shows it."""
    settings = session.settings
    if settings.mode == "script":
        from avish.lang import script

        return script.format(object_type, render.configured(object_type, body) if settings.brief else body)
    if settings.mode == "linux_command_line":
        from avish.lang import flags

        return flags.format(object_type, body, multi_line=settings.multi_line, brief=settings.brief)
    return render.object_table(object_type, render.configured(object_type, body) if settings.brief else body)


def _list(session: Session, object_type: ObjectType, walk: Walk) -> Run:
    query = {"include_name": "", "join_subresources": "runtime", **session.place()}
    if object_type.joins:
        query["joins"] = ",".join(object_type.joins)
    if session.interactive and not walk.form and not walk.pipes:
        yield from _pages(session, object_type, query)
        return
    reply = yield from session.ask(Call("GET", f"/api/{object_type.name}", {**query, "page_size": "-1"}))
    yield from answer(reply.body, render.list_table(object_type, reply.body["results"]), walk)


def _pages(session: Session, object_type: ObjectType, query: Mapping[str, str]) -> Run:
    """A list of many: the first of them at once."""
    number, shown, count = 0, 0, 1
    while shown < count:
        number += 1
        page = {**query, "page_size": str(PAGE), "page": str(number)}
        reply = yield from session.ask(Call("GET", f"/api/{object_type.name}", page))
        count, results = reply.body["count"], reply.body["results"]
        shown += len(results)
        seen = yield Print(render.list_table(object_type, results), page=True)
        if not results or enough(seen):
            return


def enough(seen: Reply | None) -> bool:
    """Whether the user looked at a page and wants no further one."""
    return seen is not None and seen.body is False


def run(session: Session, order: Order) -> Run:
    """A command that the controller carries out."""
    command = order.command
    if command.live and session.interactive and not (order.walk.form or order.walk.pipes):
        from avish.shell.verbs import top

        yield from top.live(session, order)
        return
    path = f"/api/{command.api}"
    named = next((item for item in command.args.values() if item.name in session.tree.schema.index), None)
    if named is not None:
        body = yield from session.existing(session.tree.schema.object(named.name), order.args[named.name])
        path = f"/api/{named.name}/{body['uuid']}/{command.api}"
    if command.method != "GET" and session.rehearsal is not None:
        words = (str(order.args.get(word[1:-1], word)) for word in command.path)
        yield Print(f"would {' '.join(words)}")
        return
    given = {**order.walk.given("filter"), **order.options, **_more(order, named)}
    query = {name: _text(value) for name, value in given.items()}
    if command.method == "GET":
        query["page_size"] = str(PAGE)
    reply = yield from session.ask(Call(command.method, path, query))
    if isinstance(reply.body, dict) and NEXT in reply.body:
        yield from _rows(session, Call(command.method, path, query), reply.body, order)
    elif reply.body is not None:
        yield from answer(reply.body, _table(order, reply.body), order.walk)
        if session.interactive and not (order.walk.form or order.walk.pipes) and _entries(reply.body) == []:
            yield Print("no entries")
    elif command.method == "POST":
        yield Print("Done")
    yield from session.warn(reply)


def _more(order: Order, named: Any) -> dict[str, Any]:
    """The arguments of the path that do not name the object."""
    return {name: value for name, value in order.args.items() if named is None or name != named.name}


def _table(order: Order, body: Any) -> str:
    if not order.command.columns:
        return render.plain_table(body)
    rows = listing.parts(body)[2] if isinstance(body, dict) else body
    return render.columns_table(order.command.columns, rows)


def _rows(session: Session, call: Call, body: Body, order: Order) -> Run:
    """The pages of a long answer; what goes through a pipe or is one document by form is put together first."""
    walk = order.walk
    if walk.form or walk.pipes:
        while NEXT in body:
            key = listing.parts(body)[1]
            reply = yield from session.ask(_following(call, body))
            rows = [*body[key], *reply.body[key]]
            body = {**reply.body, key: rows}
        yield from answer(body, _table(order, body), walk)
        return
    number, first = 1, True
    while True:
        head, key, rows = listing.parts(body)
        last = NEXT not in body
        seen = yield Rows(head, key, rows, number, first, last, order.command.columns)
        if last or enough(seen):
            return
        number, first = number + len(rows), False
        body = (yield from session.ask(_following(call, body))).body


def _following(call: Call, body: Body) -> Call:
    return call._replace(query={"cursor": body[NEXT], "page_size": str(PAGES_AFTER)})


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("addr", value))
    return "1" if value is True else str(value)


def answer(body: Any, table: str, walk: Walk) -> Run:
    """What a show command found: one document, or the table."""
    pipes = pipes_of(walk)
    yield Document(body, walk.form, pipes)
    if pipes[:1] == (COUNT,) and not walk.form and (rows := _counted(body)) is not None:
        yield Print(str(rows), pipes[1:])
    elif not walk.form:
        yield Print(table, pipes, page=True)


def _counted(body: Any) -> int | None:
    """The rows of a list; None for an answer that is none."""
    if isinstance(body, list):
        return len(body)
    if isinstance(body, Mapping) and isinstance(body.get("results"), list):
        return len(body["results"])
    rows = _entries(body)
    return None if rows is None else len(rows)


def _entries(body: Any) -> list[Any] | None:
    """The rows of an answer that is one list with plain values before it; None for any other."""
    values = list(body.values()) if isinstance(body, Mapping) else []
    lists = [value for value in values if isinstance(value, list)]
    return lists[0] if len(lists) == 1 and not any(isinstance(value, Mapping) for value in values) else None

"""Verbs about what the controller has noted down: events, alerts, the archive for support."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avish.shell import render
from avish.shell.effects import Call, CopyFile, Print, Stream
from avish.shell.session import Order, Run, Session
from avish.shell.showing import answer

EVENTS = ("Timestamp", "Event", "Object", "User", "Description")
ALERTS = ("Timestamp", "Alert", "Description", "Not sent")


def events(session: Session, order: Order) -> Run:
    """The last events, oldest first."""
    reply = yield from session.ask(Call("GET", "/api/events", _query(order)))
    rows = [
        (_when(one), one["event_id"], one["obj_name"] or "-", one["user"] or "-", one["event_description"])
        for one in reply.body["event"]
    ]
    yield from answer(reply.body, render.box(EVENTS, [tuple(map(render.printable, row)) for row in rows]), order.walk)


def follow(session: Session, order: Order) -> Run:
    """Events from now on: on a terminal beside what else is done, in a script until it is ended."""
    from avish.api.client import target

    yield from ()
    path = target("/api/events", {"follow": "1", **_query(order)})
    yield Stream(path, "events", order.pipes, follow=not session.interactive, raw=bool(order.walk.form))


def alerts(session: Session, order: Order) -> Run:
    """The alerts, oldest first."""
    reply = yield from session.ask(Call("GET", "/api/alerts", _query(order)))
    rows = [
        (
            _when(one),
            one["obj_name"],
            one["event_description"],
            "; ".join(one["event_details"].get("not_sent", [])) or "-",
        )
        for one in reply.body["alert"]
    ]
    yield from answer(reply.body, render.box(ALERTS, [tuple(map(render.printable, row)) for row in rows]), order.walk)


def test_syslog(session: Session, order: Order) -> Run:
    """A message to every server."""
    if session.rehearsal is not None:
        yield Print("would send a test to every syslog server")
        return
    reply = yield from session.ask(Call("POST", "/api/alerts/test"))
    results = reply.body["result"]
    if not results:
        yield Print("no alertsyslogconfig names a server: configure alertsyslogconfig NAME, syslog_servers ADDRESS")
        return
    rows = [(one["server"], one["result"]) for one in results]
    yield from answer(reply.body, render.box(("Server", "Result"), rows), order.walk)


def _when(event: Mapping[str, Any]) -> str:
    return str(event["report_timestamp"])[:19].replace("T", " ")


def _query(order: Order) -> dict[str, str]:
    given = {**order.options, **order.walk.given("filter")}
    return {name: str(value) for name, value in given.items()}


def tech_support(session: Session, order: Order) -> Run:
    """Have the archive made, and say where it is."""
    if session.rehearsal is not None:
        yield Print("would put an archive together")
        return
    reply = yield from session.ask(Call("POST", "/api/tech-support"))
    path = reply.body["file"]
    if "file" in order.options:
        path = (yield from session.ask_user(CopyFile(path, order.options["file"]))).body
    text = f"{path}: {reply.body['size']} bytes, {reply.body['entries']} files"
    missing = "".join(f"\nnot in it: {one}" for one in reply.body["missing"])
    yield from answer(reply.body, text + missing, order.walk)

"""The user's own account, and what the controller has written down of everybody's."""

from __future__ import annotations

from typing import Any

from avish.errors import ValidationError
from avish.shell import render
from avish.shell.effects import Ask, Call, Print
from avish.shell.session import Order, Run, Session
from avish.shell.showing import answer

COLUMNS = ("Time", "User", "Source", "Event", "What", "Request")


def passwd(session: Session, order: Order) -> Run:
    """Another password for who works here; a script gives old and new one in lines of their own."""
    del order
    old = (yield from session.ask_user(Ask("Old password: ", hidden=True))).body
    new = (yield from session.ask_user(Ask("New password: ", hidden=True))).body
    if session.interactive and (yield from session.ask_user(Ask("Again: ", hidden=True))).body != new:
        raise ValidationError("the two are not the same; nothing was changed")
    if session.rehearsal is not None:
        yield Print("would change the password")
        return
    yield from session.ask(Call("PUT", "/api/useraccount", body={"old_password": old, "password": new}))
    yield Print("Password changed; other sessions of yours have ended")


def audit(session: Session, order: Order) -> Run:
    """Logins, changes and refusals, newest first."""
    query = {name: str(value) for name, value in order.walk.given("filter").items()}
    reply = yield from session.ask(Call("GET", "/api/audit", query))
    rows = [_row(entry) for entry in reply.body["results"]]
    yield from answer(reply.body, render.box(COLUMNS, rows), order.walk)


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    what = " ".join(str(entry[name]) for name in ("method", "path", "status", "reason", "account") if name in entry)
    return (
        str(entry["time"])[:23], str(entry["user"]), str(entry["source"]), str(entry["event"]), what[:120],
        str(entry["request"]),
    )  # fmt: skip

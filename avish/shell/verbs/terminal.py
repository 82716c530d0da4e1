"""``terminal``, ``history``: how this shell reads and shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from avish.errors import ValidationError
from avish.shell import render
from avish.shell.effects import Print, WriteFile
from avish.shell.session import Order, Run, Session
from avish.shell.showing import answer


def _sets(name: str, value: Any) -> Callable[[Session, Order], Run]:
    """A verb that gives a setting a value."""

    def verb(session: Session, order: Order) -> Run:  # noqa: ARG001  (every verb has an order)
        setattr(session.settings, name, value)
        yield from ()

    return verb


interactive = _sets("mode", "interactive")
script = _sets("mode", "script")
linux_command_line = _sets("mode", "linux_command_line")
brief = _sets("brief", value=True)
detailed = _sets("brief", value=False)
api_details = _sets("api_details", value=True)
no_api_details = _sets("api_details", value=False)
single_line = _sets("multi_line", value=False)
multi_line = _sets("multi_line", value=True)


def length(session: Session, order: Order) -> Run:
    """Lines of a page."""
    session.settings.length = order.args["lines"]
    yield from ()


def session_timeout(session: Session, order: Order) -> Run:
    """Minutes without a key."""
    session.settings.session_timeout = order.args["minutes"]
    yield from ()


def timezone(session: Session, order: Order) -> Run:
    """The zone of the times shown; ValidationError when there is none of that name."""
    from zoneinfo import ZoneInfo

    zone = order.args["zone"]
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise ValidationError(
            f"there is no time zone {zone!r}; names are as UTC, Europe/Berlin, America/New_York"
        ) from None
    session.settings.timezone = zone
    yield from ()


def show(session: Session, order: Order) -> Run:
    """All settings."""
    settings = asdict(session.settings)
    rows = [(name, "terminal" if value is None else str(value)) for name, value in settings.items()]
    yield from answer(settings, render.box(("Field", "Value"), rows), order.walk)


def history(session: Session, order: Order) -> Run:
    """The lines typed, oldest first."""
    lines = list(session.history())
    if not lines:
        text = "no history yet" if session.interactive else "nothing was typed here: a script has no history"
        yield from answer([], text, order.walk)
        return
    first = max(0, len(lines) - order.args.get("lines", len(lines)))
    text = "\n".join(f"{number:5}  {line}" for number, line in enumerate(lines[first:], first + 1))
    yield from answer(lines[first:], text, order.walk)


def history_export(session: Session, order: Order) -> Run:
    """What was carried out in this session, as a runbook."""
    from avish.lang.runbook import header, runbook

    lines = [*header(f"a session on {session.host}", session.began), *runbook(session.tree, session.typed)]
    if order.args.get("file", "-") == "-":
        yield from answer(lines, "\n".join(lines), order.walk)
        return
    path = (yield from session.ask_user(WriteFile(order.args["file"], "\n".join([*lines, ""]), secret=True))).body
    yield Print(f"Wrote {len(session.typed)} lines to {path}")

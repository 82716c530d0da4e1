"""Captures: the packets as they come, the file of the latest one, and a file as it grows."""

from __future__ import annotations

import math
from collections.abc import Generator
from pathlib import Path

from avish.errors import ParseError, ValidationError
from avish.shell import render
from avish.shell.effects import Ask, Call, Effect, Fetch, Print, Reply, Stream
from avish.shell.session import Order, Run, Session, address, pipes_of
from avish.shell.showing import answer

_WIRESHARK = "wireshark"


def _debugged(session: Session, order: Order) -> Generator[Effect, Reply | None, tuple[str, str]]:
    """Path of the debug object, and the name of what is debugged."""
    word = next(one for one in order.args if one in ("debugserviceengine", "debugvirtualservice"))
    name = str(order.args[word])
    kind = session.tree.schema.object(word)
    return address(kind, (yield from session.existing(kind, name))), name


def live(session: Session, order: Order) -> Run:
    """The packets from now on."""
    path, name = yield from _debugged(session, order)
    pipes = pipes_of(order.walk)
    interface = order.options.get("interface")
    query = f"?interface={interface}" if interface else ""
    if any(pipe[0] == _WIRESHARK for pipe in pipes):
        if len(pipes) > 1:
            raise ParseError("wireshark reads packets: no other pipe goes with it")
        yield Fetch(f"{path}/capture?form=pcapng", "", (_WIRESHARK, "-k", "-i", "-"))
        return
    if any(pipe[0] != "grep" for pipe in pipes):
        raise ParseError("only grep and wireshark go with packets that come one by one")
    yield Stream(f"{path}/capture{query}", name, pipes, follow=not session.interactive, raw=bool(order.walk.form))


def export(session: Session, order: Order) -> Run:
    """A capture file as it grows; ``-`` is standard output."""
    path, _ = yield from _debugged(session, order)
    file = str(order.args["file"])
    if session.rehearsal is not None and file != "-":
        yield Print(f"would write the capture to {file}")
        return
    yield Fetch(f"{path}/capture?form=pcapng", file)


def download(session: Session, order: Order) -> Run:
    """The file of the latest capture, to a directory of the user's."""
    path, _ = yield from _debugged(session, order)
    told = yield from session.ask_user(Ask("Please specify the destination directory: "))
    folder = Path(str(told.body).strip() or ".").expanduser()
    if not folder.is_dir():
        raise ValidationError(f"{folder} is no directory", status=404)
    if session.rehearsal is not None:
        yield Print(f"would write the capture to {folder}")
        return
    reply = yield Fetch(f"{path}/capture/file", f"{folder}/")
    written = "" if reply is None else str(reply.body)
    yield from answer({"file": written}, f"Downloaded the attachment to {written}", order.walk)


def jobs(session: Session, order: Order) -> Run:
    """Captures that run, and a commit that awaits its confirmation."""
    body = (yield from session.ask(Call("GET", "/api/jobs"))).body
    found = [one for one in body["results"] if one["state"] == "running"]
    rows = [
        ("capture", f"{one['subject']} ({one['engine']})", one["user"], str(one["packets"]), one["left"], one["file"])
        for one in found
    ]
    pending = (yield from session.ask(Call("GET", "/api/confirm"))).body["pending"]
    if pending is not None:
        left = f"{math.ceil(pending['seconds_left'])} s"
        found.append({"job": "commit confirm", **pending})
        rows.append(("commit confirm", f"commit {pending['revision']}", pending["user"], "-", left, "-"))
    heads = ("Job", "On", "User", "Packets", "Left", "File")
    table = render.box(heads, rows) if rows else "nothing runs that ends by a limit"
    yield from answer({"job": found}, table, order.walk)

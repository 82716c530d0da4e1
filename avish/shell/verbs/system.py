"""Verbs about the controller, the machine it runs on, and where one works."""

from __future__ import annotations

import os

from avish.errors import UnavailableError, ValidationError
from avish.shell import render
from avish.shell.effects import Call, CopyFile, Print, RemoveFile, Spawn
from avish.shell.session import ALL_TENANTS, Order, Run, Session
from avish.shell.showing import answer

SHELL = "/bin/bash"


def switchto_tenant(session: Session, order: Order) -> Run:
    """Another tenant; what is open belongs to this one. In the view of all of them nothing can be changed."""
    name = order.args["name"]
    if session.candidate is not None or session.workspace is not None:
        raise ValidationError(f"what is open belongs to tenant {session.tenant}; save, cancel or exit it first")
    if name != ALL_TENANTS:
        yield from _exists(session, "tenant", name)
    session.tenant = name
    yield Print(f"Switching to tenant {name}")


def switchto_cloud(session: Session, order: Order) -> Run:
    """Another cloud; objects keep the cloud they name."""
    name = order.args["cloud"]
    yield from _exists(session, "cloud", name)
    yield Print(f"Switching to cloud {name}; objects are made in the cloud that their cloud_ref names")


def _exists(session: Session, kind: str, name: str) -> Run:
    yield from session.existing(session.tree.schema.object(kind), name)


def version(session: Session, order: Order) -> Run:
    """Release of the controller."""
    reply = yield from session.ask(Call("GET", "/api/cluster/version"))
    rows = [(session.host, f"{reply.body['Version']}({reply.body['build']}) {reply.body['Tag']}")]
    yield from answer(reply.body, render.box(("Controller Name", "Version"), rows), order.walk)


def cluster(session: Session, order: Order) -> Run:
    """State of the controllers."""
    reply = yield from session.ask(Call("GET", "/api/cluster/runtime"))
    yield from answer(reply.body, render.plain_table(reply.body), order.walk)


def drill_failover(session: Session, order: Order) -> Run:
    """Let an engine fail; unless it is named, the active one of the first pair."""
    wanted = order.args.get("engine")
    if wanted:
        yield from _exists(session, "serviceengine", wanted)
    reply = yield from session.ask(Call("GET", "/api/serviceengine"))
    for engine in reply.body["results"]:
        summary = yield from session.ask(Call("GET", f"/api/serviceengine/{engine['uuid']}/runtime"))
        leads = bool(summary.body.get("active_tags") and summary.body.get("pair"))
        if engine["name"] == wanted or (leads and not wanted):
            found = yield from session.ask(Call("POST", f"/api/serviceengine/{engine['uuid']}/drill", body={}))
            yield from answer(found.body, render.plain_table(found.body), order.walk)
            return
    raise ValidationError(
        "there is no active engine of a pair: drill failover needs ha_mode_legacy_active_standby in a "
        "serviceenginegroup with two engines"
    )


def attach(session: Session, order: Order) -> Run:
    """A Linux shell in the namespace of an engine."""
    name = order.args["serviceengine"]
    yield from _exists(session, "serviceengine", name)
    reply = yield from session.ask(Call("GET", "/api/avish/status"))
    engine = next((one for one in reply.body["engines"] if one["name"] == name), None)
    if engine is None:
        raise UnavailableError(f"no engine {name} runs here: it is not in the topology of this controller")
    space = engine.get("namespace", "")
    yield from _linux(session, ("ip", "netns", "exec", space, SHELL) if space else (SHELL,))


def bash(session: Session, order: Order) -> Run:  # noqa: ARG001  (every verb has an order)
    """A Linux shell."""
    yield from _linux(session, (SHELL,))


def _linux(session: Session, argv: tuple[str, ...]) -> Run:
    if os.geteuid() != 0:
        raise ValidationError("Shell access not allowed for this user", status=403)
    if not session.interactive:
        raise ValidationError("a Linux shell needs a terminal")
    yield Spawn(argv)


def copy_file(session: Session, order: Order) -> Run:
    """A file of the user's, with the user's rights."""
    copied = yield from session.ask_user(CopyFile(order.args["source"], order.args["destination"]))
    done = "would copy" if session.rehearsal is not None else "Copied"
    yield Print(f"{done} {order.args['source']} to {copied.body}")


def purge_file(session: Session, order: Order) -> Run:
    """A file of the user's goes."""
    removed = yield from session.ask_user(RemoveFile(order.args["source"]))
    yield Print(f"{'would remove' if session.rehearsal is not None else 'Removed'} {removed.body}")

"""Writes tried on the controller's candidate and thrown away: dry runs, ``commit check``, ``compare``."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from avish.shell.difference import difference_text
from avish.shell.effects import Call, Print, Reply, Warn
from avish.shell.session import GONE, Asked, Run, Session, refusal
from avish.shell.workspace import Step, Workspace

VERBS = {"POST": "create", "PUT": "change", "DELETE": "delete"}


def rehearse(session: Session, steps: list[Step]) -> Run:
    """A dry run goes on: try further steps and say what they would change."""
    workspace = session.rehearsal
    if workspace is None:
        raise TypeError("this is no dry run")
    reply = yield from tried(workspace, steps)
    workspace.steps += steps
    lines = [f"would {VERBS[step.method]} {step.place}" for step in steps]
    yield Print("\n".join([*lines, *kernel_lines(reply.body)]))
    for text in workspace.fresh(list(reply.warnings)):
        yield Warn(text)


def tried(workspace: Workspace, steps: list[Step]) -> Asked:
    """The answer to ``steps`` tried behind those of ``workspace``; the controller's candidate moves on."""
    reply = yield _call(steps, workspace.token)
    if reply is not None and reply.status == GONE:
        yield from repeat(workspace)
        reply = yield _call(steps, workspace.token)
    return _taken(workspace, reply)


def repeat(workspace: Workspace) -> Run:
    """The controller has forgotten the candidate (it was restarted, or others came after): send everything again, each
    change to the tenant it was typed in.
    """
    workspace.token = ""
    for _, steps in groupby(workspace.steps, key=lambda step: step.tenant):
        reply = yield _call(list(steps), workspace.token)
        _taken(workspace, reply)


def _taken(workspace: Workspace, reply: Reply | None) -> Reply:
    if reply is None:
        raise TypeError("a call is answered with a Reply")
    if reply.status >= 400:
        raise refusal(reply)
    workspace.token = reply.body["token"]
    return reply


def drafted(workspace: Workspace, steps: list[Step]) -> Call:
    """What tells of steps behind those of ``workspace`` that were refused what they would change all the same."""
    return _call(steps, workspace.token, draft="1")


def _call(steps: list[Step], token: str, **more: str) -> Call:
    query = {"dryrun": "1", **({"after": token} if token else {}), **more}
    return Call(
        "POST", "/api/transaction", query, {"requests": [step.request for step in steps]}, tenant=steps[0].tenant
    )


def kernel_lines(body: dict[str, Any]) -> list[str]:
    """The kernel elements of an answer, a line each."""
    return [f"  {engine}: {step}" for engine, steps in body.get("kernel", {}).items() for step in steps]


def summary(session: Session) -> Run:
    """At the end of a dry run: the sum of its effects."""
    workspace = session.rehearsal
    if workspace is None or not workspace.token:
        return
    reply = yield from session.ask(Call("GET", "/api/compare", {"from": "running", "to": workspace.token}))
    yield Print(f"In all ({len(workspace.steps)} writes, none of them done):\n{difference_text(reply.body)}")

"""``configure session``, ``commit``, ``compare``, ``rollback`` and what they leave behind."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any

from avish.errors import AvishError, ConflictError, ValidationError
from avish.lang.walk import Walk
from avish.shell import render
from avish.shell.clock import local
from avish.shell.difference import difference_text
from avish.shell.effects import Call, Document, Effect, Print, Reply, Warn
from avish.shell.merge import rebase, told
from avish.shell.rehearsal import VERBS, drafted, kernel_lines, rehearse, tried
from avish.shell.session import Asked, Order, Run, Session, address, pipes_of
from avish.shell.showing import answer
from avish.shell.workspace import Step, Workspace

UNNAMED = "default"
GONE_ALREADY = 404


def begin(session: Session, order: Order) -> Run:
    """Open a session, or go on with one that was left."""
    name = order.args.get("name", UNNAMED)
    if session.workspace is not None:
        raise ValidationError(f"session {session.workspace.name} is open; commit, cancel or exit first")
    session.workspace = session.left.pop(name, None) or Workspace(name, tenant=session.tenant)
    if session.workspace.tenant != session.tenant:
        session.tenant = session.workspace.tenant
        yield Print(f"Switching to tenant {session.tenant}, where session {name} began")
    if session.workspace.steps:
        yield Print(f"session {name} goes on with {len(session.workspace.steps)} changes (show session)")


def leave(session: Session, kind: str) -> Run:
    """``save``, ``exit`` or ``cancel`` where a session is open and no object is."""
    workspace = _open(session)
    if kind == "save":
        yield from _commit(session, workspace, {})
    elif kind == "exit":
        session.workspace = None
        if workspace.steps:
            session.left[workspace.name] = workspace
            resume = "" if workspace.name == UNNAMED else f" {workspace.name}"
            yield Print(f"{len(workspace.steps)} changes wait uncommitted; configure session{resume} goes on with them")
    elif not workspace.steps or (yield from session.sure(f"Drop {len(workspace.steps)} changes?")):
        session.workspace = None


def show_session(session: Session, order: Order) -> Run:
    """The changes that wait."""
    steps = _open(session).steps
    rows = [(str(n), VERBS[s.method], s.word, s.name) for n, s in enumerate(steps, 1)]
    body = {
        "session": _open(session).name,
        "changes": [{"action": VERBS[s.method], "type": s.type, "name": s.name, "body": s.body} for s in steps],
    }
    yield from answer(body, render.box(("#", "Action", "Type", "Name"), rows), order.walk)


def commit(session: Session, order: Order) -> Run:
    """The changes of the session, or the confirmation of a commit that awaits it."""
    if session.workspace is None:
        reply = yield from session.ask(Call("GET", "/api/confirm"))
        pending = reply.body["pending"]
        if pending is None:
            raise ValidationError("nothing to commit: no session is open and no commit awaits its confirmation")
        if session.rehearsal is not None:
            yield Print(f"would confirm commit {pending['revision']}")
            return
        yield from session.ask(Call("POST", "/api/confirm", comment=order.options.get("comment", "")))
        yield Print(f"commit {pending['revision']} is confirmed")
        return
    _nothing_open(session)
    yield from _commit(session, session.workspace, order.options)


def take_back(session: Session, order: Order) -> Run:
    """A commit that awaits its confirmation goes at once."""
    pending = (yield from session.ask(Call("GET", "/api/confirm"))).body["pending"]
    if pending is None:
        raise ValidationError("no commit awaits its confirmation")
    told = (
        f"commit {pending['revision']} {{}} taken back: the configuration is that of commit {pending['back_to']} again"
    )
    if session.rehearsal is not None:
        yield Print(told.format("would be"))
        return
    reply = yield from session.ask(Call("DELETE", "/api/confirm", comment=order.options.get("comment", "")))
    yield Print(told.format("is"))
    yield from session.warn(reply)


def _commit(session: Session, workspace: Workspace, options: Mapping[str, Any]) -> Run:
    if not workspace.steps:
        session.workspace = None
        yield Print("nothing to commit")
        return
    if session.rehearsal is not None:
        yield from rehearse(session, workspace.steps)
        session.workspace = None
        return
    try:
        yield from _refresh(session, workspace)
        reply = yield from session.ask(_writes(workspace.steps, options))
    except ConflictError as error:
        workspace.stale = True
        text = "the session is kept: compare shows it against the new state, commit puts your changes over it"
        raise ConflictError(f"{error}\n{text}, cancel drops them") from None
    session.workspace = None
    yield Print(f"commit {reply.body['revision']} complete: {len(workspace.steps)} objects")
    yield from session.warn(reply)
    yield from _awaiting(session, options)


def _writes(steps: list[Step], options: Mapping[str, Any]) -> Call:
    query = {"brief": "1", **_confirm(options)}
    requests = {"requests": [step.request for step in steps]}
    return Call("POST", "/api/transaction", query, requests, comment=options.get("comment", ""))


def _confirm(options: Mapping[str, Any]) -> dict[str, str]:
    return {"confirm": str(options["confirm"])} if "confirm" in options else {}


def _awaiting(session: Session, options: Mapping[str, Any]) -> Run:
    """Say until when a commit has to be confirmed."""
    if "confirm" in options:
        pending = (yield from session.ask(Call("GET", "/api/confirm"))).body["pending"]
        if pending is not None:
            until = local(pending["until"], session.settings.timezone)
            yield Print(
                f"commit {pending['revision']} rolls back to {pending['back_to']} at {until} unless commit confirms it"
            )


def check(session: Session, order: Order) -> Run:
    """Everything but the commit."""
    _nothing_open(session)
    workspace = _open(session)
    reply = yield from _candidate(session, workspace)
    yield Document(reply.body, order.walk.form, pipes_of(order.walk))
    yield Print("\n".join([f"{len(workspace.steps)} changes are sound", *kernel_lines(reply.body)]), order.pipes)
    yield from session.warn(reply)


def compare(session: Session, order: Order) -> Run:
    """Two states of the configuration, or configuration and kernel."""
    begin_at, end_at = order.args.get("from"), order.args.get("to")
    if begin_at is None:
        yield from _compare_open(session, order.walk)
        return
    query = {"from": str(begin_at).lower(), "to": str(end_at).lower() if end_at is not None else "running"}
    if end_at is None and session.workspace is not None and session.workspace.steps:
        query["to"] = (yield from _candidate(session, session.workspace)).body["token"]
    elif end_at is None and session.rehearsal is not None and session.rehearsal.token:
        query["to"] = session.rehearsal.token
    reply = yield from session.ask(Call("GET", "/api/compare", query))
    yield from answer(reply.body, difference_text(reply.body), order.walk)


def _compare_open(session: Session, walk: Walk) -> Run:
    """What is being edited against what runs."""
    if session.candidate is not None:
        candidate = session.candidate
        body, stored = candidate.body, candidate.stored
        if candidate.stale and stored is not None:
            theirs = yield from session.again(candidate.type, stored)
            body = rebase(candidate.type, stored, body, theirs)[0]
        method, path = (
            ("POST", f"/api/{candidate.type.name}") if stored is None else ("PUT", address(candidate.type, stored))
        )
        step = Step(candidate.type.name, candidate.type.word, candidate.name, method, path, body, stored)
        yield from _compare_steps(session, [step], walk)
        return
    elif session.workspace is not None:
        yield from _refresh(session, session.workspace)
        yield from _compare_steps(session, session.workspace.steps, walk)
        return
    elif session.rehearsal is not None and session.rehearsal.token:
        reply = yield from session.ask(Call("GET", "/api/compare", {"from": "running", "to": session.rehearsal.token}))
    else:
        raise ValidationError(
            "nothing is being edited; compare REVISION, compare REVISION REVISION or compare kernel"
            " (show commits lists revisions)"
        )
    yield from answer(reply.body, difference_text(reply.body), walk)


def _compare_steps(session: Session, steps: list[Step], walk: Walk) -> Run:
    """What steps would change; of those that are refused as well, and then why."""
    before = _before(session)
    try:
        reply = yield from tried(before, steps)
    except AvishError:
        reply = yield from session.ask(drafted(before, steps))
        yield from answer(reply.body, difference_text(reply.body), walk)
        raise
    yield from answer(reply.body, difference_text(reply.body), walk)


def _before(session: Session) -> Workspace:
    """What a trial builds on: a dry run so far, which it does not become part of, or nothing."""
    before = session.rehearsal or Workspace()
    return Workspace(steps=list(before.steps), token=before.token)


def _candidate(session: Session, workspace: Workspace) -> Asked:
    """The answer to the whole session tried, on what runs or on the dry run so far."""
    yield from _refresh(session, workspace)
    return (yield from tried(_before(session), workspace.steps))


def _refresh(session: Session, workspace: Workspace) -> Run:
    """Somebody saved objects of this session meanwhile: put its changes over their state."""
    if not workspace.stale:
        return
    steps = []
    for step in workspace.steps:
        steps += yield from _refreshed(session, step)
    workspace.replace(steps)
    workspace.stale = False


def _refreshed(session: Session, step: Step) -> Generator[Effect, Reply | None, list[Step]]:
    """A step over the present state of its object. One to delete what is gone is done; one to change it stays."""
    if step.base is None:
        return [step]
    kind = session.tree.schema.object(step.type)
    try:
        theirs = yield from session.again(kind, step.base)
    except ValidationError as error:
        if error.http_status != GONE_ALREADY:
            raise
        return [] if step.body is None else [step]
    if step.body is None:
        return [replace(step, base=theirs)]
    body, clashes = rebase(kind, step.base, step.body, theirs)
    for text in told(clashes, step.place):
        yield Warn(text)
    return [replace(step, body=body, base=theirs)]


def rollback(session: Session, order: Order) -> Run:
    """Back to an earlier state, by a commit of its own."""
    _nothing_open(session)
    target = {"back": order.args["back"]} if "back" in order.args else {"to": order.args["id"]}
    if session.workspace is not None:
        raise ValidationError("a session is open; commit, cancel or exit first")
    named, comment = _named(target), order.options.get("comment", "")
    if session.interactive or session.rehearsal is not None:
        plan = (yield from session.ask(Call("POST", "/api/rollback", {"dryrun": "1"}, target))).body
        yield Print(difference_text(plan), page=True)
        if session.rehearsal is not None or not (yield from session.sure("Roll back?")):
            return
        target = {"to": plan["to"], "from": plan["from"]}
    call = Call("POST", "/api/rollback", _confirm(order.options), target, comment=comment)
    reply = yield from session.ask(call)
    if reply.body["revision"] == target.get("to") or target.get("back") == 0:
        yield Print(f"nothing to roll back: commit {reply.body['revision']} is what runs")
        return
    yield Print(f"commit {reply.body['revision']} complete: the configuration is that of {named}")
    yield from session.warn(reply)
    yield from _awaiting(session, order.options)


def _named(target: Mapping[str, int]) -> str:
    return f"commit {target['to']}" if "to" in target else f"{target['back']} commits ago"


def show_commits(session: Session, order: Order) -> Run:
    """Who, when, from where, why."""
    reply = yield from session.ask(Call("GET", "/api/commits", {"page_size": str(order.options.get("last", 50))}))
    rows = [_commit_row(one, session.settings.timezone) for one in reply.body["results"]]
    header = ("Commit", "Time", "User", "From", "Objects", "Comment", "State", "Back")
    yield from answer(reply.body, render.box(header, rows), order.walk)


def _commit_row(one: Mapping[str, Any], zone: str) -> list[str]:
    values = [
        one["id"],
        local(one["time"], zone),
        *(one[key] for key in ("user", "source", "objects", "comment", "state", "back")),
    ]
    return [render.wrapped(str(value)) for value in values]


def show_commit(session: Session, order: Order) -> Run:
    """One commit with its changes."""
    reply = yield from session.ask(Call("GET", f"/api/commits/{order.args['id']}"))
    body = reply.body
    about = {**{key: body[key] for key in ("id", "time", "user", "source", "comment", "state")}}
    about["time"] = local(about["time"], session.settings.timezone)
    text = f"{render.plain_table(about)}\n{difference_text({'objects': body['changes']})}"
    yield from answer(body, text, order.walk)


def show_notices(session: Session, order: Order) -> Run:
    """What every session was told."""
    reply = yield from session.ask(Call("GET", "/api/notices", {"recent": "1"}))
    zone = session.settings.timezone
    lines = [f"{local(one['time'], zone)} {one['text']}" for one in reply.body]
    yield from answer(reply.body, "\n".join(_or(lines, "no notices")), order.walk)


def _or(lines: list[str], empty: str) -> Iterator[str]:
    yield from lines or [empty]


def _open(session: Session) -> Workspace:
    if session.workspace is None:
        raise ValidationError("no session is open (configure session)")
    return session.workspace


def _nothing_open(session: Session) -> None:
    if session.candidate is not None:
        raise ValidationError(
            f"{session.candidate.type.word} {session.candidate.name} is open; save or cancel it first"
        )

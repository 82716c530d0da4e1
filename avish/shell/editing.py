"""Objects opened, left, saved and deleted."""

from __future__ import annotations

from avish.errors import AvishError, ConflictError, ValidationError
from avish.lang.tree import Op
from avish.lang.walk import Walk
from avish.lang.written import names_file
from avish.schema.model import ObjectType
from avish.schema.types import Secret, Text, Type
from avish.shell import render
from avish.shell.candidate import Body, Candidate, missing
from avish.shell.effects import Call, Print, ReadFile, Stream, Warn
from avish.shell.merge import rebase, told
from avish.shell.session import ALL_TENANTS, Run, Session, address, pipes_of, printed
from avish.shell.showing import object_text
from avish.shell.workspace import Step


def edit(session: Session, op: Op, walk: Walk) -> Run:
    """Carry out an operation that opens, leaves, shows or ends a mode."""
    kind = op[0]
    if kind in ("open", "delete") and session.tenant == ALL_TENANTS:
        raise ValidationError("the view of all tenants only shows; switchto tenant NAME first", status=403)
    if kind == "open":
        yield from _open(session, op[1], op[2] if len(op) > 2 else "", quiet=any(o[0] == "body" for o in walk.ops))
    elif kind == "where":
        yield from _where(session, walk)
    elif kind == "delete":
        yield from _delete(session, op[1], op[2])
    else:
        yield from _leave(session, kind)


def read_values(session: Session, walk: Walk) -> Run:
    """Put the texts of files in place of ``file:PATH``, where a text or a secret is set."""
    for number, op in enumerate(walk.ops):
        if op[0] != "set" or not isinstance(op[2], str) or not op[2].startswith("file:"):
            continue
        if not names_file(op[2]):
            name = op[2].removeprefix("file:")
            yield Warn(f"{op[1].name} is this text itself; a file is given by its path (file:./{name})")
            continue
        if isinstance(op[1].leaf, (Text, Secret)) or type(op[1].leaf) is Type:
            text = (yield from session.ask_user(ReadFile(op[2].removeprefix("file:")))).body
            walk.ops[number] = (op[0], op[1], op[1].leaf.parse(text.removesuffix("\n")))


def _open(session: Session, name: str, key: str, *, quiet: bool) -> Run:
    object_type = session.tree.schema.object(name)
    stored = yield from session.find(object_type, key)
    if stored is None and object_type.names:
        yield from session.existing(session.tree.schema.object(object_type.names), key)
    if stored is not None and quiet:
        yield Print("Updating an existing object.")
    elif stored is not None and not session.settings.quiet:
        table = object_text(session, object_type, stored)
        yield Print(f"Updating an existing object. Currently, the object is:\n{table}")
    session.candidate = Candidate.open(object_type, key, stored)


def _leave(session: Session, kind: str) -> Run:
    candidate = session.candidate
    if candidate is None:
        yield from _leave_session(session, kind)
    elif kind == "cancel":
        candidate.apply(("cancel",))
        session.candidate = candidate if candidate.frames else None
    else:
        try:
            yield from _save(session, candidate)
        except AvishError:
            candidate.refused = True
            raise


def _save(session: Session, candidate: Candidate) -> Run:
    candidate.refused = False
    if len(candidate.frames) == 1:
        yield from _commit(session, candidate)
        return
    yield from printed(candidate.settle())
    yield from printed(candidate.apply(("save",)))


def _leave_session(session: Session, kind: str) -> Run:
    """At the top, or in a session with no object open."""
    if session.workspace is not None:
        from avish.shell.verbs import transactions

        yield from transactions.leave(session, kind)
    elif kind == "exit":
        yield from session.leave()
    else:
        yield Warn(f"nothing to {kind}: no object is being edited")


def _commit(session: Session, candidate: Candidate) -> Run:
    """The outermost save: to the controller, or to the changes that wait."""
    object_type, body = candidate.type, candidate.body
    place = f"{object_type.word} {candidate.name}".rstrip()
    if issues := missing(object_type, body, place):
        raise ValidationError(issues)
    method, path = "POST", f"/api/{object_type.name}"
    if candidate.stored is not None:
        method, path = "PUT", address(object_type, candidate.stored)
    if session.workspace is not None or session.rehearsal is not None:
        name = body.get("name", candidate.name)
        step = Step(object_type.name, object_type.word, name, method, path, body, candidate.stored, session.tenant)
        yield from _put_aside(session, step)
        session.candidate = None
        return
    try:
        if candidate.stale:
            yield from _rebase(session, candidate)
        reply = yield from session.ask(Call(method, path, body=candidate.body))
    except ConflictError as error:
        candidate.stale = True
        text = "your changes are kept in this mode: compare shows them against the new state, save puts them over it"
        raise ConflictError(f"{error}\n{text}, cancel drops them") from None
    session.candidate = None
    if not session.settings.quiet:
        yield Print(object_text(session, object_type, reply.body))
    yield from session.warn(reply)
    if reply.body.get("capture_status", {}).get("state") == "running":
        yield Stream(f"/api/{object_type.name}/{reply.body['uuid']}/capture", candidate.name)


def _rebase(session: Session, candidate: Candidate) -> Run:
    """Somebody saved the object meanwhile: what was changed here is changed in their state."""
    if candidate.stored is None:
        return
    theirs = yield from session.again(candidate.type, candidate.stored)
    body, clashes = rebase(candidate.type, candidate.stored, candidate.body, theirs)
    for text in told(clashes):
        yield Warn(text)
    candidate.frames[0].value, candidate.stored, candidate.stale = body, theirs, False


def _put_aside(session: Session, step: Step) -> Run:
    """A change that waits: in a session it is kept, in a dry run it is tried at once."""
    if session.workspace is not None:
        workspace = session.workspace
        workspace.add(step)
        verb = {"POST": "created", "PUT": "changed", "DELETE": "deleted"}[step.method]
        yield Print(f"{step.place} will be {verb} by commit ({len(workspace.steps)} changes wait)")
        return
    from avish.shell.rehearsal import rehearse

    yield from rehearse(session, [step])


def _where(session: Session, walk: Walk) -> Run:
    text = f"Tenant: {session.tenant}"
    if session.candidate is not None:
        frame = session.candidate.frames[-1]
        text += "\n" + render.object_table(frame.message, frame.value)
    yield Print(text, pipes_of(walk))


def _delete(session: Session, name: str, key: str) -> Run:
    object_type: ObjectType = session.tree.schema.object(name)
    if object_type.singleton:
        raise ValidationError(f"there is always one {object_type.word}; change it with configure {object_type.word}")
    body: Body = yield from session.existing(object_type, key)
    if not (yield from session.sure(f"Delete {object_type.word} {key}?")):
        return
    called = str(body.get("name", key))
    path = address(object_type, body)
    step = Step(name, object_type.word, called, "DELETE", path, base=body, tenant=session.tenant)
    if session.workspace is not None or session.rehearsal is not None:
        yield from _put_aside(session, step)
        return
    yield from session.warn((yield from session.ask(Call("DELETE", path, body=step.sent))))
    yield Print(f"Successfully deleted {key}.")

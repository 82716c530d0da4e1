"""``watch show ...``: the same answer again and again, each picture in place of the one before."""

from __future__ import annotations

from collections.abc import Generator

from avish.lang.walk import Walk
from avish.shell.effects import Effect, Frame, Pause, Print, Reply
from avish.shell.session import Run, Session, pipes_of

INTERVAL = 2.0
"""Seconds between two pictures."""


def watch(session: Session, walk: Walk) -> Run:
    """Until the user has had enough."""
    walk.ops = walk.ops[1:]
    while True:
        yield from _picture(session, walk)
        reply = yield Pause(INTERVAL)
        if reply is None or not reply.body:
            return


def _picture(session: Session, walk: Walk) -> Run:
    """One answer as one picture; documents and warnings pass as they are."""
    texts: list[str] = []
    effects = _all(session, walk)
    reply: Reply | None = None
    while True:
        try:
            effect = effects.send(reply)
        except StopIteration:
            break
        reply = None
        if isinstance(effect, Print):
            texts.append(effect.text)
        else:
            reply = yield effect
    if texts:
        yield Frame("\n".join(texts), f"every {INTERVAL:g} s, Ctrl-C ends it", pipes_of(walk))


def _all(session: Session, walk: Walk) -> Generator[Effect, Reply | None, None]:
    for op in walk.ops:
        yield from session.do(op, walk)

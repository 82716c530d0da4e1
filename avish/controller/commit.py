"""The one way to change the configuration: validate, compile, diff, check, journal, apply, move the head."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from avish.compile.compiler import Compiler, needed_ids
from avish.config.config import Change, Config
from avish.config.store import Ids, Store, Who
from avish.config.transaction import Delete, Prepared, Put, prepare
from avish.controller.engines import Engine
from avish.controller.words import plan_text
from avish.errors import ApplyError, Issue, ValidationError
from avish.schema.model import Schema
from dataplane.diff import Plan, diff, reverse
from dataplane.errors import RefusedError, UnreachableError
from dataplane.model import SeState

log = logging.getLogger(__name__)

Plans = dict[str, Plan]
Effect = Callable[[Config], Callable[[], None]]
"""What has to succeed before a change is kept, given the candidate; it returns how to undo it."""


@dataclass(frozen=True, slots=True)
class Head:
    """The committed configuration, the ids it uses and what every engine should hold for it."""

    config: Config
    ids: Ids
    desired: Mapping[str, SeState]

    def state(self, engine: str) -> SeState:
        """What an engine should hold; nothing, if the configuration does not know it."""
        return self.desired.get(engine, EMPTY)


EMPTY = SeState()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a commit did, or would do, from ``old`` to ``head``. ``kernel``: steps in words by engine."""

    old: Config
    head: Head
    changes: tuple[Change, ...] = ()
    written: tuple[tuple[str, str], ...] = ()
    """(type, uuid) of the object of each request, in order."""
    warnings: tuple[Issue, ...] = ()
    kernel: Mapping[str, list[str]] = field(default_factory=dict)


class Committer:
    """Holds the head; one commit at a time, readers never wait."""

    def __init__(self, schema: Schema, store: Store, engines: Mapping[str, Engine], clock: Callable[[], float]) -> None:
        self._schema = schema
        self._store = store
        self._engines = engines
        self._clock = clock
        self._compiler = Compiler()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=max(len(engines), 1), thread_name_prefix="commit")
        config, ids = store.load(), store.ids()
        self._head = Head(config, ids, self._compiler.compile(config, ids))

    @property
    def head(self) -> Head:
        """The committed state; a value that never changes."""
        return self._head

    def commit(
        self, requests: Iterable[Put | Delete], who: Who, *, effect: Effect | None = None, dry_run: bool = False
    ) -> Outcome:
        """Carry out the requests together, or refuse them all; ``dry_run``: everything but the writes.

        Raises ValidationError, ConflictError, or ApplyError when an engine's kernel or the store refuses; then the old
        state is back. An engine that does not answer is brought up to date later.
        """
        with self._lock:
            old = self._head
            prepared = self._prepare(old, requests)
            target = self._target(old, prepared)
            plans = self._plans(target)
            outcome = _outcome(old, target, prepared, plans)
            self._check(plans)
            if dry_run:
                return outcome
            undo = effect(prepared.config) if effect else _nothing
            if prepared.changes:
                try:
                    self._carry_out(prepared, target, plans, who)
                except BaseException:
                    undo()
                    raise
            return replace(outcome, warnings=(*outcome.warnings, *self._left_behind(old, target)))

    def _left_behind(self, old: Head, target: Head) -> Iterator[Issue]:
        """The engines that a change concerns but did not reach."""
        for engine in self._engines.values():
            if engine.applied is None and diff(old.state(engine.name), target.state(engine.name)):
                text = f"does not answer ({engine.reason}); it gets this change when it is back"
                yield Issue(f"service engine {engine.name}", text, "warning")

    def bring_up(self, engine: Engine) -> list[str]:
        """Make an engine hold what the head asks of it; says in words what was changed."""
        with self._lock:
            desired = self._head.state(engine.name)
            said = engine.driver.sync(desired, self._head.config.revision)
            engine.in_step(desired, self._head.config.revision)
            return said

    # --- the steps

    def _prepare(self, old: Head, requests: Iterable[Put | Delete]) -> Prepared:
        now_us = int(self._clock() * 1_000_000)
        prepared = prepare(self._schema, old.config, list(requests), now_us, self._store.last_change)
        if prepared.errors:
            raise ValidationError(prepared.errors, status=prepared.status)
        return prepared

    def _target(self, old: Head, prepared: Prepared) -> Head:
        if not prepared.changes:
            return old
        ids = old.ids.with_keys(needed_ids(prepared.config, prepared.changes))
        return Head(prepared.config, ids, self._compiler.compile(prepared.config, ids))

    def _plans(self, target: Head) -> Plans:
        """What to change on the engines that are in step; the others follow when they answer again."""
        plans = {
            engine.name: diff(engine.applied, target.state(engine.name))
            for engine in self._engines.values()
            if engine.applied is not None
        }
        return {name: plan for name, plan in plans.items() if plan}

    def _check(self, plans: Plans) -> None:
        refusals = self._on_engines(plans, _check_engine)
        if refusals:
            raise ApplyError(_refusal_text(refusals, "nothing was changed"))

    def _carry_out(self, prepared: Prepared, target: Head, plans: Plans, who: Who) -> None:
        revision = target.config.revision
        self._store.journal(revision, prepared.changes, target.ids, who, self._clock())
        try:
            self._apply(plans, target)
        except BaseException:
            self._store.drop(revision)
            raise
        try:
            self._store.commit(revision)
        except BaseException:
            for name in plans:
                self._engines[name].lost("a change was applied that could not be kept; the old state is put back")
            raise
        self._head = target
        for engine in self._engines.values():
            engine.moved(target.state(engine.name), revision if engine.name in plans else engine.revision)

    def _apply(self, plans: Plans, target: Head) -> None:
        revision = target.config.revision
        before = {name: self._engines[name].revision for name in plans}
        refusals = self._on_engines(plans, lambda engine, plan: engine.driver.apply(plan, engine.revision, revision))
        if not refusals:
            return
        undo = {
            name: reverse(plan)
            for name, plan in plans.items()
            if name not in refusals and self._engines[name].applied is not None
        }
        stuck = self._on_engines(undo, lambda engine, plan: engine.driver.apply(plan, revision, before[engine.name]))
        for name in stuck:
            self._engines[name].lost("it refused to go back; it is brought in step again")
        raise ApplyError(_refusal_text(refusals, "the old state is back"))

    def _on_engines(self, plans: Plans, act: Callable[[Engine, Plan], None]) -> dict[str, RefusedError]:
        """Do it on all engines at once; gives the refusals, marks (and leaves out of ``plans``) those not answering."""

        def one(name: str) -> RefusedError | None:
            try:
                act(self._engines[name], plans[name])
            except RefusedError as error:
                return error
            except UnreachableError as error:
                self._engines[name].lost(str(error))
            return None

        names = list(plans)
        found = [one(names[0])] if len(names) == 1 else list(self._pool.map(one, names))
        for name in names:
            if self._engines[name].applied is None:
                del plans[name]
        return {name: error for name, error in zip(names, found, strict=True) if error is not None}


def _outcome(old: Head, target: Head, prepared: Prepared, plans: Plans) -> Outcome:
    return Outcome(
        old=old.config,
        head=target,
        changes=prepared.changes,
        written=prepared.written,
        warnings=tuple(prepared.warnings),
        kernel={name: plan_text(plan) for name, plan in plans.items()},
    )


def _check_engine(engine: Engine, plan: Plan) -> None:
    """A frozen agent is found out by a question answered at once, not by waiting for a change that it never makes."""
    if engine.keeper.revision() != engine.revision:
        raise UnreachableError("its agent was started again")
    engine.driver.check(plan)


def _nothing() -> None:
    """Undoes an effect that there was not."""


def _refusal_text(refusals: Mapping[str, RefusedError], aftermath: str) -> str:
    said = "; ".join(f"service engine {name} refuses this: {error}" for name, error in refusals.items())
    return f"{said}; {aftermath}"

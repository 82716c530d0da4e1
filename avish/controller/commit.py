"""The one way to change the configuration: validate, compile, diff, check, journal, apply, move the head."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from avish.compile.compiler import Compiler, needed_ids
from avish.config.config import Change, Config
from avish.config.store import Ids, Store, Who
from avish.config.transaction import Prepared, Request, prepare
from avish.controller.confirm import PLAIN, Confirmations, Pending, Terms
from avish.controller.engines import Engine
from avish.controller.stale import refuse
from avish.controller.words import plan_text
from avish.errors import ApplyError, AvishError, Issue
from avish.schema.model import Schema
from dataplane.diff import Plan, diff, reverse
from dataplane.errors import RefusedError, UnreachableError
from dataplane.model import SeState

log = logging.getLogger(__name__)

Plans = dict[str, Plan]
Ask = Callable[[Config], Iterable[Request]]
"""From the head to the requests. Called while nobody else commits: what it reads is what the requests change."""


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
    seconds: float = 0.0
    """How long it took."""


class Effect(Protocol):
    """What goes along with a change beside the engines and the store; called while nobody else commits."""

    def judge(self, prepared: Prepared) -> None:
        """Raise what refuses the change; nothing is done yet. A rehearsal goes this far."""

    def begin(self, prepared: Prepared) -> None:
        """Before the change is kept; what is raised refuses it."""

    def notes(self, prepared: Prepared) -> Mapping[str, Any]:
        """What the store keeps in the same step as the change."""

    def undo(self) -> None:
        """The change was refused: take back what ``begin`` did, as far as it came."""

    def settle(self, outcome: Outcome) -> None:
        """The change is kept."""


class NoEffect:
    """Of a change that nothing goes along with."""

    def judge(self, prepared: Prepared) -> None:
        """There is nothing to refuse."""

    def begin(self, prepared: Prepared) -> None:
        """There is nothing to do."""

    def notes(self, prepared: Prepared) -> Mapping[str, Any]:  # noqa: ARG002  (the Effect's signature)
        """There is nothing to keep."""
        return {}

    def undo(self) -> None:
        """Nothing was done."""

    def settle(self, outcome: Outcome) -> None:
        """Nothing is left to do."""


NO_EFFECT = NoEffect()


class Committer:
    """Holds the head; one commit at a time, readers never wait."""

    def __init__(
        self,
        schema: Schema,
        store: Store,
        engines: Mapping[str, Engine],
        clock: Callable[[], float],
        confirmations: Confirmations,
    ) -> None:
        self._schema = schema
        self._store = store
        self._engines = engines
        self._clock = clock
        self._confirmations = confirmations
        self._compiler = Compiler()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=max(len(engines), 1), thread_name_prefix="commit")
        self.told: list[Callable[[Outcome, Who], None]] = []
        """Called after each commit, while nobody else commits: they must not wait for anything."""
        config, ids = store.load(), store.ids()
        self._head = Head(config, ids, self._compiler.compile(config, ids))

    @property
    def head(self) -> Head:
        """The committed state; a value that never changes."""
        return self._head

    def commit(
        self,
        ask: Ask,
        who: Who,
        *,
        effect: Effect = NO_EFFECT,
        terms: Terms = PLAIN,
    ) -> Outcome:
        """Carry out the requests together, or refuse them all.

        Raises ValidationError, ConflictError, or ApplyError when an engine's kernel or the store refuses; then the old
        state is back. An engine that does not answer is brought up to date later.
        """
        with self._lock:
            began = time.perf_counter()
            old = self._head
            self._confirmations.admit(who, terms)
            prepared = self._prepare(old, ask)
            target = self._target(old, prepared)
            held = self._held()
            plans = _plans(held, target)
            outcome = _outcome(old, target, prepared, _kernel(plans))
            self._check(plans)
            effect.judge(prepared)
            notes = {
                **self._confirmations.notes(who, terms, old.config.revision, target.config.revision),
                **effect.notes(prepared),
            }
            try:
                effect.begin(prepared)
                if prepared.changes:
                    self._carry_out(prepared, target, plans, who, notes)
                    self._move(target, held, plans)
                elif notes:
                    self._store.keep(notes)
            except BaseException:
                effect.undo()
                raise
            outcome = replace(outcome, seconds=time.perf_counter() - began)
            behind = [lambda: self._confirmations.kept(notes), lambda: effect.settle(outcome)]
            behind += [partial(told, outcome, who) for told in self.told]
            failed = [issue for act in behind for issue in _afterwards(act)]
            return replace(outcome, warnings=(*outcome.warnings, *failed, *self._left_behind(old, target)))

    def rehearse(
        self, ask: Ask, who: Who, *, after: Head | None = None, effect: Effect = NO_EFFECT, terms: Terms = PLAIN
    ) -> Outcome:
        """Everything but the writes, on the head or on the candidate of an earlier rehearsal; raises what commit does,
        but warns of a commit that awaits its confirmation. ``kernel`` tells what these requests alone would change.
        """
        with self._lock:
            old = self._head if after is None else after
            prepared = self._prepare(old, ask)
            target = self._target(old, prepared)
            held = self._held()
            plans = _plans(held, target)
            self._check(plans)
            effect.judge(prepared)
            own = plans if after is None else _plans({name: old.state(name) for name in held}, target)
            outcome = _outcome(old, target, prepared, _kernel(own))
            waits = self._confirmations.waits(who, terms)
            later = (Issue("", f"this would be refused now: {waits}", "warning"),) if waits else ()
            return replace(outcome, warnings=(*outcome.warnings, *later))

    def draft(self, ask: Ask, after: Head | None = None) -> Prepared:
        """What the requests would change, sound or not, and all that is wrong with it."""
        with self._lock:
            return self._prepared(self._head if after is None else after, ask)

    def confirm_commit(self) -> Pending:
        """The commit that awaits its confirmation stays; ValidationError (404) when none does."""
        with self._lock:
            return self._confirmations.confirm()

    def at(self, revision: int) -> Head:
        """The head as it was at a revision; shares with the head what has not changed since. KeyError for none."""
        head = self._head
        if revision == head.config.revision:
            return head
        if revision <= 0:
            raise KeyError(revision)
        changes = self._store.changes(head.config.revision, revision)
        config = head.config.with_changes(changes, revision)
        return Head(config, head.ids, self._compiler.compile(config, head.ids))

    def confirm(self, engine: Engine) -> None:
        """UnreachableError unless the agent of an engine in step holds what we think."""
        if engine.keeper.revision() != engine.revision:
            with self._lock:  # a commit may have been under way: ask again when it is not
                engine.confirm()

    def _left_behind(self, old: Head, target: Head) -> Iterator[Issue]:
        """The engines that a change concerns but did not reach."""
        for engine in self._engines.values():
            if engine.applied is None and diff(old.state(engine.name), target.state(engine.name)):
                text = f"does not answer ({engine.reason}); it gets this change when it is back"
                yield Issue(f"service engine {engine.name}", text, "warning")

    def bring_up(self, engine: Engine) -> list[str]:
        """Make an engine hold what the head asks of it; says in words what was changed. Commits go on meanwhile."""
        said: list[str] = []
        while True:
            head = self._head
            desired, revision = head.state(engine.name), head.config.revision
            said += engine.driver.sync(desired, revision)
            with self._lock:
                if self._head.state(engine.name) == desired:
                    engine.in_step(desired, revision)
                    return said

    # --- the steps

    def _prepared(self, old: Head, ask: Ask) -> Prepared:
        return prepare(self._schema, old.config, ask(old.config), int(self._clock() * 1_000_000))

    def _prepare(self, old: Head, ask: Ask) -> Prepared:
        prepared = self._prepared(old, ask)
        if prepared.errors:
            refuse(self._schema, self._store, old.config, prepared)
        return prepared

    def _target(self, old: Head, prepared: Prepared) -> Head:
        if not prepared.changes:
            return old
        ids = old.ids.with_keys(needed_ids(prepared.changes))
        return Head(prepared.config, ids, self._compiler.compile(prepared.config, ids))

    def _held(self) -> dict[str, SeState]:
        """What the engines hold that are in step; each is looked at once, for it may be lost at any moment."""
        held = {name: engine.applied for name, engine in self._engines.items()}
        return {name: state for name, state in held.items() if state is not None}

    def _check(self, plans: Plans) -> None:
        refusals = self._on_engines(plans, _check_engine)
        if refusals:
            raise ApplyError(_refusal_text(refusals, "nothing was changed"))

    def _carry_out(self, prepared: Prepared, target: Head, plans: Plans, who: Who, notes: Mapping[str, Any]) -> None:
        revision = target.config.revision
        self._store.journal(revision, prepared.changes, target.ids, who, self._clock())
        try:
            self._apply(plans, target)
            self._keep(plans, revision, notes)
        except BaseException:
            self._drop(revision)
            raise

    def _keep(self, plans: Plans, revision: int, notes: Mapping[str, Any]) -> None:
        try:
            self._store.commit(revision, notes)
        except BaseException:
            for name in plans:
                self._engines[name].lost("a change was applied that could not be kept; the old state is put back")
            raise

    def _drop(self, revision: int) -> None:
        """What cannot be dropped now, the next journal overwrites: the refusal that led here is what matters."""
        try:
            self._store.drop(revision)
        except AvishError as error:
            log.warning("the refused revision %d stays in the store until the next save: %s", revision, error)

    def _move(self, target: Head, held: Mapping[str, SeState], plans: Plans) -> None:
        self._head = target
        for name, before in held.items():
            engine = self._engines[name]
            engine.moved(before, target.state(name), target.config.revision if name in plans else engine.revision)

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
        """Do it on all engines at once; gives the refusals, marks (and leaves out of ``plans``) those not answering.

        An engine on which anything else goes wrong refuses, and is marked: nobody knows what it holds.
        """

        def one(name: str) -> RefusedError | None:
            try:
                act(self._engines[name], plans[name])
            except RefusedError as error:
                return error
            except UnreachableError as error:
                self._engines[name].lost(str(error))
            except Exception as error:  # a bug of one engine must not leave the others with half a change
                log.exception("service engine %s: the change failed", name)
                self._engines[name].lost("an internal error, see the log of the controller")
                return RefusedError(f"internal error ({error!r}), see the log of the controller")
            return None

        names = list(plans)
        found = [one(names[0])] if len(names) == 1 else list(self._pool.map(one, names))
        for name in names:
            if self._engines[name].applied is None:
                del plans[name]
        return {name: error for name, error in zip(names, found, strict=True) if error is not None}


def _afterwards(act: Callable[[], None]) -> Iterator[Issue]:
    """What goes along with a change that is done. It cannot be refused any more: what goes wrong is logged and told."""
    try:
        act()
    except Exception as error:
        log.exception("behind a commit")
        yield Issue("", f"the change is done, but not all that goes along with it: {error}", "warning")


def _kernel(plans: Plans) -> dict[str, list[str]]:
    return {name: plan_text(plan) for name, plan in plans.items()}


def _outcome(old: Head, target: Head, prepared: Prepared, kernel: Mapping[str, list[str]]) -> Outcome:
    return Outcome(
        old=old.config,
        head=target,
        changes=prepared.changes,
        written=prepared.written,
        warnings=tuple(prepared.warnings),
        kernel=kernel,
    )


def _plans(held: Mapping[str, SeState], target: Head) -> Plans:
    """What to change on the engines that are in step; the others follow when they answer again."""
    plans = {name: diff(state, target.state(name)) for name, state in held.items()}
    return {name: plan for name, plan in plans.items() if plan}


def _check_engine(engine: Engine, plan: Plan) -> None:
    engine.confirm()
    engine.driver.check(plan)


def _refusal_text(refusals: Mapping[str, RefusedError], aftermath: str) -> str:
    said = "; ".join(f"service engine {name} refuses this: {error}" for name, error in refusals.items())
    return f"{said}; {aftermath}"

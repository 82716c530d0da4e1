"""A session on a whole controller: whatever is typed, nothing but a told error comes of it, and never half a write."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from controller import Lab
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from language import TREE
from shelltools import LabWorld, Shell
from typed import NOISE, Modes, lines

from avish.errors import AvishError
from avish.lang.check import Checker

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@contextlib.contextmanager
def shells(**options):
    """A session on a controller of its own."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        try:
            yield Shell(world=LabWorld(lab), quiet=True, **options)
        finally:
            lab.close()


def typed(shell, line):
    """Type a line; False when it was refused. Then nothing is written."""
    if " ".join(line.split()[:2]).removeprefix("do ").startswith("reboot"):
        return True  # waits for the agent of an engine, and none runs
    before = shell.world.revision
    try:
        shell.effects(line)
    except AvishError:
        assert shell.world.revision == before
        return False
    return True


@QUICK
@given(st.lists(NOISE, max_size=12), st.booleans())
def test_any_text_raises_told_errors_only(script, dry):
    checker = Checker(TREE)
    with shells(dry_run=dry) as shell:
        for line in ["configure natpolicy n", *script]:
            typed(shell, line)
            assert checker.check(line)["ok"] in (True, False)
            assert shell.session.prompt.endswith("> ")


@QUICK
@given(st.data(), st.booleans())
def test_offered_lines_raise_told_errors_only(data, interactive):
    """Edits of every kind, in any order: the candidate never breaks."""
    with shells(interactive=interactive) as shell:
        for _ in range(6):
            typed(shell, data.draw(lines(Modes(shell.session.modes))))
        shell.type("where")


@QUICK
@given(st.data())
def test_a_dry_run_writes_nothing(data):
    with shells(dry_run=True) as shell:
        before = shell.world.revision
        for _ in range(6):
            typed(shell, data.draw(lines(Modes(shell.session.modes))))
        assert shell.world.revision == before


@QUICK
@given(st.data())
def test_the_checker_follows_the_modes_of_the_session(data):
    """Where both understand a line, both are in the same mode afterwards, whatever an object holds."""
    checker = Checker(TREE)
    with shells() as shell:
        for _ in range(5):
            line = data.draw(lines(Modes(shell.session.modes)))
            if not typed(shell, line):
                return  # a refusal that only the object can know: a missing field, an element that is not there
            assert checker.check(line) == {"ok": True, "mode": shell.session.mode}


SIMPLE = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
ANYTHING = st.recursive(SIMPLE, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner)))


def places(value, path=()):
    """The ways to everything inside a document."""
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in pairs:
        yield from places(one, (*path, key))


def put(value, path, new):
    """The document with something else at a place."""
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = put(value[path[0]], path[1:], new)
    return copied


@QUICK
@given(st.data(), st.booleans())
def test_a_damaged_export_is_taken_or_refused_whole(data, dry):
    with shells() as shell:
        shell.type("configure pool one", "servers ip 10.1.1.1 port 80", "save", "save")
        client = shell.world.client
        config = client.call("GET", "/api/configuration/export").body
        for _ in range(data.draw(st.integers(1, 3))):
            config = put(config, data.draw(st.sampled_from(list(places(config)))), data.draw(ANYTHING))
        before = shell.world.revision
        answer = client.call("POST", "/api/configuration/import", {"dryrun": "1"} if dry else {}, config)
        assert answer.status < 500, answer.body
        assert shell.world.revision == before or (answer.status < 300 and not dry)

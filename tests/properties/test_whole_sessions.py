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

"""Things behind those they need."""

from __future__ import annotations

import pytest

from avish.config.ordered import ordered

NEEDS = {"a": "bc", "b": "c", "c": "", "d": "a", "e": "f", "f": "e"}


@pytest.mark.parametrize(("given", "expected"), [("abcd", "cbad"), ("d", "cbad"), ("ef", "fe"), ("", "")])
def test_each_comes_behind_what_it_needs(given, expected):
    assert "".join(ordered(given, NEEDS.__getitem__)) == expected


def test_a_circle_is_told_with_the_way_into_it():
    told = []
    list(ordered("ef", NEEDS.__getitem__, lambda way, needed: told.append((way, needed))))
    assert told == [(["e", "f"], "e")]


def test_a_long_way_is_no_recursion():
    assert next(ordered([0], lambda n: [n + 1] if n < 50_000 else [])) == 50_000

"""What each word of a line is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from language import TREE, inside

from avish.lang.highlight import marks

POOL = ("configure pool p",)


@pytest.mark.parametrize(
    ("line", "lines", "expected"),
    [
        ("configure pool p1 servers ip 10.1.1.1 port 80", (), "verb type name field field value field number"),
        ("sh pool 'a b' summary", (), "verb type name verb"),
        ("show pool p1 | grep -i x | count", (), "verb type name pipe pipe value value pipe pipe"),
        ("show pool --json", (), "verb type pipe"),
        ("no enabled ratio x", POOL, "field field wrong"),
        ("no enabled rati", POOL, "field field"),
        ("conf foo bar", (), "verb wrong"),
        ("# a note", (), "comment"),
        ("configure pool p --servers.1.ip 10.1.1.1 --enabled", (), "verb type name field value field"),
        ("configure pool p << END", (), "verb type name pipe value"),
        ("authentication password x", ("configure healthmonitor h",), "field field secret"),
        ("health_monitor_refs System-TCP", POOL, "field name"),
        ("do show pool", POOL, "verb verb type"),
        ("\x07", (), "wrong"),
        ("", (), ""),
    ],
)
def test_kinds(line, lines, expected):
    assert " ".join(mark.kind for mark in marks(TREE, inside(*lines), line)) == expected


@given(st.text(max_size=30))
def test_marks_lie_side_by_side_on_any_text(line):
    at = 0
    for mark in marks(TREE, inside(*POOL), line):
        assert at <= mark.start <= mark.end
        at = mark.end
    assert at <= len(line)

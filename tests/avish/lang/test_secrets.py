"""Lines without their secrets."""

from __future__ import annotations

import pytest
from language import TREE, inside

from avish.errors import ParseError
from avish.lang.secrets import without
from avish.lang.walk import parse

MODE = ("configure healthmonitor h", "authentication")


@pytest.mark.parametrize(
    ("line", "lines", "expected"),
    [
        ("password geheim", MODE, "password <sensitive>"),
        ('username u password "a b" username v', MODE, "username u password <sensitive> username v"),
        ('password "not closed', MODE, "password <sensitive>"),
        ("passwod geheim", MODE, "passwod <sensitive>"),
        ("password --", MODE, "password --"),
        ("conf vrfc global bgp_profile peers md5_secret geheim", (), "conf vrfc global bgp_profile peers md5_secret <sensitive>"),
        ("configure healthmonitor h --authentication.password x --send_interval 5", (),
         "configure healthmonitor h --authentication.password <sensitive> --send_interval 5"),
        ("configure healthmonitor h --authentication.passwrd x", (), "configure healthmonitor h --authentication.passwrd <sensitive>"),
        ("configure nonsense --x.secret y", (), "configure nonsense --x.secret <sensitive>"),
        ("configure pool p1 description x", (), "configure pool p1 description x"),
        ("show pool | grep password", (), "show pool | grep password"),
        ("a\x07b", (), ""),
    ],
)  # fmt: skip
def test_without(line, lines, expected):
    assert without(TREE, inside(*lines), line) == expected


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("password hunter2 | json", MODE),
        ("password hunter2 | foo", MODE),
        ("password hunter2 | grep", MODE),
        ("password hunter2 --json", MODE),
        ("password hunter2 | count", MODE),
        ('password "hunter2', MODE),
        ("password hun\x07hunter2", MODE),
        ("password hunter2" + " x" * 40_000, MODE),
        ("password hunter2 extra", MODE),
        ("password x|hunter2", MODE),
        ("usrname u password hunter2", MODE),
        ("configure user bob password hunter2 | count", ()),
        ("configure user bob password hunter2 --json", ()),
        ("configure user bob fullname x password hunter2", ()),
        ("configure user bob --password hunter2 | foo", ()),
    ],
)
def test_a_refused_line_is_told_without_its_secrets(line, lines):
    with pytest.raises(ParseError) as found:
        parse(TREE, inside(*lines), line)
    error = found.value
    assert "hunter2" not in f"{error} {error.text} {error.line} {error.nearest} {error.expected}"
    assert error.line


def test_places_stay_where_they_are():
    with pytest.raises(ParseError) as found:
        parse(TREE, inside(*MODE), "password hunter2 | foo")
    error = found.value
    assert error.line == "password ******* | foo"
    assert error.line[error.start : error.end] == "foo"

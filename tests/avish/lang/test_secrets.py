"""Lines without their secrets."""

from __future__ import annotations

import pytest
from language import TREE, inside

from avish.lang.secrets import without

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

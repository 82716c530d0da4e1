"""What TAB inserts."""

from __future__ import annotations

import pytest
from language import tab

from avish.shell.keys import inserted

POOL = ("configure pool p",)


@pytest.mark.parametrize(
    ("before", "lines", "expected"),
    [
        ("conf", (), "igure "),
        ("co", (), ""),
        ("configure natp", (), "olicy "),
        ("configure pool p", (), ""),
        ('configure pool "p', (), ""),
        ('configure pool "p 2', (), '" '),
        ("lb_algorithm lb_algorithm_ro", POOL, "und_robin "),
        ("lb_algorithm LB_ALGORITHM_RO", POOL, "und_robin "),
        ("default_s", POOL, "erver_port "),
        ("default_server_port ", POOL, ""),
        ("configure pool p --serv", (), ""),
        ("configure pool p --lb", (), "_algo"),
        ("configure pool p --servers", (), "."),
        ("configure pool p --servers.", (), "1."),
        ("configure pool p --servers.1.ra", (), "tio "),
        ("show pool --j", (), "son "),
    ],
)
def test_inserted(before, lines, expected):
    assert inserted(before, tab(before, *lines)) == expected

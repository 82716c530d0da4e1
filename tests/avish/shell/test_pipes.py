"""Text through what stands behind a bar."""

from __future__ import annotations

import pytest

from avish.errors import ParseError
from avish.shell.pipes import piped

TEXT = "one\ntwo\nthree"


@pytest.mark.parametrize(
    ("pipes", "expected"),
    [
        ([], TEXT),
        ([["grep", "t"]], "two\nthree"),
        ([["grep", "-v", "t"], ["count"]], "1"),
        ([["count"]], "3"),
        ([["grep", "nothing"]], ""),
        ([["grep", "nothing"], ["count"]], "0"),
        ([["more"]], TEXT),
        ([["grep", "-e", r"one\|two"], ["save", "x"]], "one\ntwo"),
    ],
)
def test_piped(pipes, expected):
    assert piped(TEXT, pipes) == expected


def test_a_pattern_that_is_none():
    with pytest.raises(ParseError, match="grep: "):
        piped(TEXT, [["grep", "["]])

"""Arguments of grep that make it read its input and nothing else."""

from __future__ import annotations

import pytest

from avish.lang.grep import checked


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["x"], ["-e", "x"]),
        (["-i", "x"], ["-i", "-e", "x"]),
        (["-iv", "x"], ["-i", "-v", "-e", "x"]),
        (["-e", r"ip\|open_conns"], ["-e", r"ip\|open_conns"]),
        (["-A", "2", "x"], ["-A", "2", "-e", "x"]),
        (["-3", "x"], ["-C", "3", "-e", "x"]),
        (["--context=3", "x"], ["--context=3", "-e", "x"]),
        (["--regexp", "x", "-c"], ["--regexp=x", "-c"]),
        (["-m1", "-E", "a|b"], ["-m", "1", "-E", "-e", "a|b"]),
        (["--", "-x"], ["-e", "-x"]),
    ],
)
def test_taken(arguments, expected):
    assert checked(arguments) == expected


@pytest.mark.parametrize("arguments", [[], ["-i"], ["x", "/etc/passwd"], ["-f", "/etc/passwd"], ["-r", "x"], ["-Z", "x"],
                                       ["--file=/etc/passwd", "x"], ["--include=x", "y"], ["--bogus"]])  # fmt: skip
def test_refused(arguments):
    with pytest.raises(ValueError, match="grep"):
        checked(arguments)

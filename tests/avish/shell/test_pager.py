"""Long answers page by page."""

from __future__ import annotations

import pytest

from avish.shell.pager import ERASE, MORE, Pager

LINES = [f"line {n}" for n in range(10)]


class Keyboard:
    def __init__(self, keys):
        self.keys = list(keys)

    def key(self):
        key = self.keys.pop(0)
        if key == "\x03":
            raise KeyboardInterrupt
        return key


def shown(keys, length=None, size=(80, 5), lines=LINES):
    """What was written, without the questions, how often was asked, whether all was wanted, and what was typed ahead."""
    out = []
    pager = Pager(out.append, lambda: size, Keyboard(keys))
    wanted = pager.show("\n".join(lines), length)
    text = "".join(out)
    return text.replace(MORE + ERASE, "").splitlines(), text.count(MORE), wanted, pager.ahead


@pytest.mark.parametrize(
    ("keys", "length", "until", "asked", "wanted"),
    [
        ("  ", None, 10, 2, True),
        ("q", None, 4, 1, False),
        ("\x03", None, 4, 1, False),
        ("\rq", None, 5, 2, False),
        ("G", None, 10, 1, True),
        ("", 0, 10, 0, True),
        ("", 100, 10, 0, True),
        (" q", 4, 6, 2, False),
        ("\x1b[Bq", None, 4, 1, False),
    ],
)
def test_pages(keys, length, until, asked, wanted):
    assert shown(keys, length)[:3] == (LINES[:until], asked, wanted)


def test_a_long_line_takes_several_rows():
    lines = ["x" * 200, "y", "z"]
    assert shown("q", size=(80, 5), lines=lines)[0] == lines[:2]
    assert shown("q", size=(10, 5), lines=lines)[0] == lines[:1]


def test_the_next_command_ends_it_and_is_kept():
    assert shown("s")[2:] == (False, "s")


def test_keys_that_mean_nothing_are_passed_over():
    assert shown(["\x1b[A", "\t", "q"])[1:] == (1, False, "")

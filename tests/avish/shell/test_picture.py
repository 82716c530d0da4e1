"""The pictures of a watch."""

from __future__ import annotations

import pytest

from avish.shell.picture import fitted, marked

BEFORE = "| Name | Flows |\n| a    | 1     |\n| b    | 2     |"


def test_changed_cells_are_in_reverse():
    assert marked(BEFORE, BEFORE.replace("2     |", "3     |"), colour=True) == (
        "| Name | Flows |\n| a    | 1     |\n| b    | \x1b[7m3\x1b[27m     |"
    )


def test_without_colours_a_star_stands_behind():
    assert marked(BEFORE, BEFORE.replace("2     |", "30    |"), colour=False).endswith("| b    | 30*   |")


def test_a_row_that_is_new_is_marked_whole():
    assert marked(BEFORE, f"{BEFORE}\n| c    | 9     |", colour=False).endswith("| c*   | 9*    |")


def test_frames_of_a_table_are_never_marked():
    assert marked("+--+\n| a |\n+--+", "+---+\n| ab |\n+---+", colour=False) == "+---+\n| ab*|\n+---+"


def test_text_is_compared_by_words():
    assert marked("se1: 3 flows", "se1: 4 flows", colour=True) == "se1: \x1b[7m4\x1b[27m flows"


def test_nothing_changed():
    assert marked(BEFORE, BEFORE, colour=True) == BEFORE


@pytest.mark.parametrize(("lines", "expected"), [(3, BEFORE), (2, "| Name | Flows |\n... 2 more lines"), (4, BEFORE)])
def test_fitted(lines, expected):
    assert fitted(BEFORE, 80, lines) == expected
    assert all(len(line) <= 7 for line in fitted(BEFORE, 7, lines).split("\n"))

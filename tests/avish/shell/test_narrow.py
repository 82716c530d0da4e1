"""Tables on a narrow terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avish.shell.narrow import cut, fitted, folded, narrowed
from avish.shell.render import box

WIDE = box(("Name", "State", "Why"), [("web", "UP", "-"), ("long-" + "x" * 60, "DOWN", "because " * 12)])


def test_what_fits_is_left_alone():
    assert fitted(WIDE, 1000) == WIDE
    assert fitted("no table " * 40, 1000) == "no table " * 40


@pytest.mark.parametrize("columns", [80, 130])
def test_the_widest_columns_give_way_and_short_ones_stay_whole(columns):
    lines = fitted(WIDE, columns).split("\n")
    assert {len(line) for line in lines} == {columns}
    assert "| DOWN  |" in lines[4]
    assert lines[4].count("..") == 2
    assert "| web " in lines[3]


def test_where_there_is_little_room_cells_go_on_and_nothing_is_lost():
    names = ("Client", "Service", "Server", "Came", "Seen as")
    row = ("10.10.20.100:50908", "ftp-vs", "10.10.40.101:21", "10.10.40.101:20 > 10.10.20.100:46447", "10.10.10.50:20")
    lines = fitted(box(names, [row]), 70).split("\n")
    assert max(map(len, lines)) <= 70
    cells = ["".join(line.split("|")[number] for line in lines[3:-1]).replace(" ", "") for number in range(1, 6)]
    assert cells == [text.replace(" ", "") for text in row]


@given(st.text("ab :/", max_size=80), st.integers(4, 30))
def test_folding_keeps_every_sign_but_blanks(text, width):
    parts = folded(text, width)
    assert all(len(part) <= width for part in parts)
    assert "".join(parts).replace(" ", "") == text.replace(" ", "")


def test_a_value_goes_on_in_the_next_line_and_loses_nothing():
    value = "".join(chr(97 + n % 26) for n in range(79))
    lines = fitted(box(("Field", "Value"), [("description", value), ("name", "x")]), 60).split("\n")
    assert max(map(len, lines)) <= 60
    assert "".join(line[16:-2].strip() for line in lines[3:-2]) == value
    assert lines[-2].startswith("| name        | x ")


def test_bars_in_cells_and_text_around_a_table_do_no_harm():
    lines = fitted(f"head\n{box(('A', 'B', 'C'), [('a | b', 'c' * 90, 'd')])}\n| tail " + "t" * 90, 60).split("\n")
    assert lines[0] == "head"
    assert "| a | b | ccc" in lines[4]
    assert lines[-1] == "| tail " + "t" * 90


@given(st.lists(st.integers(0, 200), min_size=1, max_size=9), st.integers(20, 250))
def test_widths_never_grow_and_fit_where_they_can(widths, room):
    found = narrowed(widths, room)
    assert all(new <= max(old, 8) for new, old in zip(found, widths, strict=True))
    if len(widths) != 2 and room >= sum(min(width, 8) + 3 for width in widths):
        assert sum(width + 3 for width in found) <= max(room, sum(min(w, 8) + 3 for w in widths))
    if sum(width + 3 for width in widths) <= room:
        assert found == widths


def test_of_a_curve_the_end_is_seen():
    curve = "▁" * 50 + "▂▃█"
    assert folded(curve, 10) == [curve[-10:]]
    assert cut(curve, 30) == curve[-30:]

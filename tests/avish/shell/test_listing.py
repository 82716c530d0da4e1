"""Pages of a long answer: rows that are alike are written at once, and look as the others do."""

from __future__ import annotations

import pytest

from avish.shell import listing
from avish.shell.effects import Rows

ALIKE = [{"ip": "10.0.0.1", "port": 21, "state_name": "established"}, {"ip": "10.0.0.22", "port": 4, "state_name": ""}]
UNLIKE = (
    {"ip": "10.0.0.1", "port": 21},
    {"port": 1, "ip": "10.0.0.1", "state_name": "x"},
    {"ip": True, "port": None, "state_name": "x"},
    {"ip": "a\nb", "port": 1, "state_name": "x"},
    {"ip": "\0", "port": 1, "state_name": "x"},
    {"ip": "x" * 90, "port": 1, "state_name": "x"},
    {"ip": "/api/pool/pool-1#p", "port": 1, "state_name": "x"},
    {"ip": {"addr": "10.0.0.1", "type": "V4"}, "port": 1, "state_name": "x"},
    {},
    "text",
)


def page(rows, *, first=False, number=99):
    return Rows({}, "connection", rows, number, first, True, ())


def lines(page):
    return listing.table(page).splitlines()


def test_rows_alike_look_as_one_by_one():
    quick = lines(page(ALIKE))
    assert quick == lines(page(ALIKE, first=True))
    assert listing._alike(page(ALIKE))
    assert quick[3:5] == ["| connection[99]  |             |", "|   ip            | 10.0.0.1    |"]


@pytest.mark.parametrize("other", UNLIKE, ids=str)
def test_rows_unlike_are_written_one_by_one(other):
    assert listing._alike(page([*ALIKE, other])) == ""
    assert lines(page([*ALIKE, other])) == lines(page([*ALIKE, other], first=True))


NESTED = [{"vrf": "global", "flow": {"l_ip": ip, "l_port": 4}, "age": "1 sec"} for ip in ("10.0.0.1", "10.0.0.22")]


def test_messages_in_rows_are_written_at_once_too():
    assert lines(page(NESTED)) == lines(page(NESTED, first=True))
    assert listing._alike(page(NESTED))
    assert "|   flow          |           |" in lines(page(NESTED))


@pytest.mark.parametrize(
    "other",
    [{}, {"l_port": 4, "l_ip": "x"}, {"l_ip": "x", "l_port": [1]}, {"l_ip": "x", "l_port": {"a": 1}}, 1],
    ids=str,
)
def test_other_messages_in_rows_are_not(other):
    rows = [*NESTED, {**NESTED[0], "flow": other}]
    assert listing._alike(page(rows)) == ""
    assert lines(page(rows)) == lines(page(rows, first=True))


def test_rows_of_empty_messages_are_rows():
    assert lines(page([{"flow": {}}])) == lines(page([{"flow": {}}], first=True))


def test_a_percent_sign_is_a_percent_sign():
    rows = [{"share%d": "50%s"}, {"share%d": "%"}]
    assert lines(page(rows)) == lines(page(rows, first=True))
    assert listing._alike(page(rows))


def test_an_empty_page_is_a_frame():
    assert len(lines(page([]))) == 4

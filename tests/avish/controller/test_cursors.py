"""Answers by pages: nothing is lost or told twice, whoever reads it ahead."""

from __future__ import annotations

import threading

import pytest

from avish.controller.cursors import NEXT, Cursors
from avish.errors import UnavailableError, ValidationError
from avish.operate.listing import Listing


def pages(cursors, listing, *sizes):
    page = cursors.first(listing, sizes[0])
    found = [page["row"]]
    for size in sizes[1:]:
        page = cursors.following(page[NEXT], size)
        found.append(page["row"])
    return found, page


def test_every_row_once_in_order_whatever_the_sizes():
    found, last = pages(Cursors(), Listing({"uuid": "u"}, "row", iter(range(100))), 5, 20, 3, 1, 40, 50)
    assert [len(one) for one in found] == [5, 20, 3, 1, 40, 31]
    assert [row for one in found for row in one] == list(range(100))
    assert NEXT not in last


def test_the_next_page_is_read_while_the_one_before_is_on_its_way():
    read = threading.Event()

    def rows():
        yield from range(10)
        read.set()
        yield from range(10, 100)

    cursors = Cursors()
    page = cursors.first(Listing({}, "row", rows()), 2)
    assert not read.is_set()
    cursors.following(page[NEXT], 5)
    assert read.wait(5)


def test_what_breaks_ahead_is_told_with_the_page_it_belongs_to():
    def rows():
        yield from range(8)
        raise UnavailableError("gone")

    cursors = Cursors()
    second = cursors.following(cursors.first(Listing({}, "row", rows()), 2)[NEXT], 5)
    assert second["row"] == [2, 3, 4, 5, 6]
    with pytest.raises(UnavailableError, match="gone"):
        cursors.following(second[NEXT], 5)


def test_a_token_is_good_once():
    cursors = Cursors()
    token = cursors.first(Listing({}, "row", iter(range(9))), 2)[NEXT]
    cursors.following(token, 2)
    with pytest.raises(ValidationError, match="ask for the first one again"):
        cursors.following(token, 2)


def test_what_nobody_fetches_is_let_go():
    closed = threading.Event()

    def rows():
        try:
            yield from range(1000)
        finally:
            closed.set()

    cursors = Cursors()
    cursors.following(cursors.first(Listing({}, "row", rows()), 2)[NEXT], 5)
    for _ in range(64):
        cursors.first(Listing({}, "row", iter(range(9))), 2)
    assert closed.is_set()

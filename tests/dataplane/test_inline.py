"""What failing connections make of a server."""

from __future__ import annotations

import pytest

from dataplane.inline import ENOUGH, LONGEST_SECONDS, PROBATION_SECONDS, WINDOW_SECONDS, Book
from dataplane.overlay import OUT, REDUCED

BAD = (1, ("10.0.0.1", 80))


def level(book):
    return book.cut().get(1, {}).get(BAD[1], 0)


def fails(book, now, good=0):
    """As often as it takes, and is judged."""
    book.fail(BAD, "refused", now, ENOUGH)
    assert [key for key, _ in book.due(now)] == [BAD]
    return book.judge(BAD, good, now)


@pytest.fixture
def book():
    return Book(lambda _server: False)


def test_one_failure_says_nothing(book):
    book.fail(BAD, "unanswered", 0.0)
    book.fail(BAD, "unanswered", WINDOW_SECONDS + 1)
    assert book.due(WINDOW_SECONDS + 1) == []


def test_most_connections_have_to_fail(book):
    assert not fails(book, 0.0, good=ENOUGH + 1)
    assert level(book) == 0
    assert fails(book, 1.0, good=ENOUGH)
    assert level(book) == REDUCED
    assert book.rows()[0]["reason"] == "2 of 4 connections failed (2 refused)"


def test_who_goes_on_failing_gets_none_for_longer_and_longer(book):
    now = 0.0
    fails(book, now)
    for rest in (PROBATION_SECONDS, 2 * PROBATION_SECONDS, 4 * PROBATION_SECONDS, LONGEST_SECONDS, LONGEST_SECONDS):
        assert fails(book, now)
        assert level(book) == OUT
        assert book.relax(now + rest - 1) == set()
        now += rest
        assert book.relax(now) == {1}
        assert level(book) == REDUCED


def test_who_is_good_again_gets_its_share_again_and_is_forgotten(book):
    fails(book, 0.0)
    assert book.relax(PROBATION_SECONDS - 1) == set()
    assert book.relax(PROBATION_SECONDS) == {1}
    assert (book.cut(), book.rows()) == ({}, [])
    assert book.relax(PROBATION_SECONDS + 1) == set()


def test_tests_that_pass_are_believed():
    book = Book(lambda _server: True)
    assert fails(book, 0.0)
    assert not fails(book, 1.0)
    assert level(book) == REDUCED
    assert book.relax(PROBATION_SECONDS) == set(), "a failure prolongs it"

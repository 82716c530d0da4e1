from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.intervals import EVERYTHING, interval, merged, text


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ([], []),
        (["10.0.0.1"], ["10.0.0.1"]),
        (["10.0.0.0/25", "10.0.0.128/25"], ["10.0.0.0/24"]),
        (["10.0.0.5-10.0.0.9", "10.0.0.7", "10.0.0.8-10.0.0.12"], ["10.0.0.5-10.0.0.12"]),
        (["10.0.0.9", "1.1.1.0/31"], ["1.1.1.0/31", "10.0.0.9"]),
        (["10.0.0.7/24"], ["10.0.0.0/24"]),
        (["255.255.255.255", "0.0.0.0"], ["0.0.0.0", "255.255.255.255"]),
    ],
)
def test_elements_are_merged_and_written_as_short_as_can_be(elements, expected):
    assert [text(part) for part in merged(elements)] == expected


def test_the_two_halves_are_everything():
    assert merged(["0.0.0.0/1", "128.0.0.0/1"]) == [EVERYTHING]


@pytest.mark.parametrize("element", ["10.0.0.9-10.0.0.1", "10.0.0.300", "", "10.0.0.0/33", "a-b"])
def test_nonsense_is_a_value_error(element):
    with pytest.raises(ValueError):
        interval(element)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40))))
def test_merging_keeps_the_addresses(pairs):
    elements = [f"{IPv4Address(first)}-{IPv4Address(first + size)}" for first, size in pairs]
    wanted = {number for first, size in pairs for number in range(first, first + size + 1)}
    found = merged(elements)
    assert {number for first, last in found for number in range(first, last + 1)} == wanted
    assert all(interval(text(part)) == part for part in found)

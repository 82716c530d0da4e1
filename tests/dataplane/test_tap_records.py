"""Batches as bytes and back."""

from __future__ import annotations

from contextlib import suppress
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.errors import UnreachableError
from dataplane.records import Packer, unpack
from dataplane.taps import Batch, Blocks, Direction, Packet, Point, Port

PACKETS = st.builds(
    Packet,
    st.integers(0, 2**63),
    st.sampled_from(get_args(Point)),
    st.sampled_from(get_args(Direction)),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["eth1", "eth2", ""]),
    st.integers(0, 70_000),
    st.binary(max_size=100),
    st.sampled_from([b"", bytes(12), bytes(36)]),
    st.sampled_from(["", "no route", "größer"]),
    st.sampled_from([1, 101]),
)
BLOCKS = st.none() | st.builds(
    Blocks, st.binary(min_size=1, max_size=50), st.integers(1, 5), st.just((Port("eth1", 1), Port("eth2", 1)))
)


@given(st.lists(st.builds(Batch, st.lists(PACKETS, max_size=5), BLOCKS), max_size=4))
def test_batches_arrive_as_they_left(batches: list[Batch]) -> None:
    packer = Packer()
    assert [unpack(*packer.pack(batch)) for batch in batches] == batches


@given(st.binary(max_size=80), st.integers(0, 80))
def test_what_is_no_batch_is_told(data: bytes, size: int) -> None:
    document = {"packets": size, "ports": [["eth1", 101]], "blocks": 0, "block_ports": []}
    with suppress(UnreachableError):
        assert isinstance(unpack(document, data), Batch)


@pytest.mark.parametrize("document", [{}, {"packets": "x"}, {"packets": 0, "ports": 3}])
def test_a_document_that_lacks_something_is_told(document: dict[str, object]) -> None:
    with pytest.raises(UnreachableError, match="cannot be understood"):
        unpack(document, b"")

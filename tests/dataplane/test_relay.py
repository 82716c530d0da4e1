from __future__ import annotations

import pytest

from dataplane import relay
from dataplane.errors import RefusedError
from dataplane.fake import FakeCapture
from dataplane.model import CaptureSpec, Packet

PACKET = Packet(1.0, "before", "original", 1, "eth1", 40, b"")


@pytest.fixture
def tap():
    return FakeCapture(CaptureSpec("nat"))


def test_every_packet_comes_and_the_end_too(tap):
    tap.feed([PACKET] * 200)
    tap.close()
    batches = list(relay.batches(tap))
    assert sum(map(len, batches)) == 200
    assert max(map(len, batches)) <= 64


def test_a_single_packet_does_not_wait_for_company(tap):
    batches = relay.batches(tap)
    tap.feed([PACKET])
    assert next(batches) == [PACKET]
    tap.feed([None])
    assert next(batches) == []
    batches.close()


def test_a_reader_that_goes_closes_the_tap(tap):
    batches = relay.batches(tap)
    tap.feed([PACKET] * 10_000)
    next(batches)
    batches.close()
    assert tap.closed


def test_an_error_of_the_tap_is_raised_behind_its_packets():
    class Broken(FakeCapture):
        def __iter__(self):
            yield PACKET
            raise RefusedError("gone")

    batches = relay.batches(Broken(CaptureSpec("nat")))
    with pytest.raises(RefusedError, match="gone"):
        assert [packet for batch in batches for packet in batch] == [PACKET]

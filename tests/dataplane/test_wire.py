from __future__ import annotations

import json
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from states import every_construct, states

from dataplane import wire
from dataplane.diff import diff
from dataplane.errors import RefusedError, UnreachableError
from dataplane.model import Interface, SeState
from dataplane.taps import CaptureSpec, PacketMatch


def travel(value):
    return wire.decode(json.loads(json.dumps(wire.encode(value))))


@settings(max_examples=40)
@given(states(), states())
def test_states_and_plans_arrive_as_they_left(old, new):
    assert travel(old) == old
    assert travel(diff(old, new)) == diff(old, new)


@pytest.mark.parametrize(
    "value",
    [
        every_construct(),
        diff(SeState(), every_construct()),
        bytes(range(256)),
        CaptureSpec(("nat",), 96, (PacketMatch(tcp=True),)),
        (Interface("eth1", 2, "02:00:00:00:00:01", 1500, True, ("10.0.0.1/24",)),),
        {"plain": None, "~": "a tag that is data"},
        {1: "number", "a": 2.5},
    ],
)
def test_values_arrive_as_they_left(value):
    assert travel(value) == value


def test_what_cannot_travel_is_a_type_error():
    with pytest.raises(TypeError):
        wire.encode(object())


@pytest.mark.parametrize(
    "data",
    [
        {"~": "NoSuchClass", "v": []},
        {"~": "Route"},
        {"~": "Route", "v": [1]},
        {"~": "bytes", "v": "?"},
        {"~": "map", "v": [1]},
        {"~": [], "v": 1},
    ],
)
def test_a_bad_value_is_a_frame_error(data):
    with pytest.raises(wire.FrameError):
        wire.decode(data)


def pair():
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


def test_frames_follow_each_other():
    here, there = pair()
    with here, there:
        wire.send(here, {"a": 1})
        wire.send(here, {"b": "ü"})
        here.shutdown(socket.SHUT_WR)
        assert wire.receive(there) == {"a": 1}
        assert wire.receive(there) == {"b": "ü"}
        assert wire.receive(there) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0",
        b"\0\0\0\5ab",
        b"\0\0\0\4junk",
        b"\0\0\0\2[]",
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n",
        (200_000).to_bytes(4, "big") + b"[" * 200_000,
    ],
)
def test_garbage_is_a_frame_error(data):
    here, there = pair()
    with here, there:
        here.settimeout(5)
        there.settimeout(5)
        here.sendall(data)
        here.shutdown(socket.SHUT_WR)
        with pytest.raises(wire.FrameError):
            wire.receive(there)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_frame_or_a_frame_error(data):
    here, there = pair()
    with here, there:
        here.sendall(data)
        here.shutdown(socket.SHUT_WR)
        try:
            while wire.receive(there) is not None:
                pass
        except wire.FrameError:
            pass


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RefusedError("no"), RefusedError),
        (UnreachableError("gone"), UnreachableError),
        (KeyError("x"), UnreachableError),
    ],
)
def test_errors_travel(error, kind):
    with pytest.raises(kind, match=str(error).strip("'")):
        wire.raise_error(json.loads(json.dumps(wire.error_document(error))))


def test_an_answer_raises_nothing():
    wire.raise_error({"ok": None})

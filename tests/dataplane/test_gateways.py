"""When an engine hands over for a gateway: by what it has lost, and what the other one says."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from dataplane import gateways
from dataplane.failover_model import Gateway, Link, Pair

LINK = Link("lo", "127.0.0.1", "127.0.0.2")
PAIR = Pair(
    (LINK,), preferred=True, heartbeat=0.08, gateways=(Gateway("10.0.0.1", 1, 3, 3), Gateway("10.0.0.2", 1, 3, 3))
)


class Heard:
    """A socket with one word of the peer in it."""

    def __init__(self, said):
        self.data = said if isinstance(said, bytes) else json.dumps(said).encode()

    def recvfrom(self, _):
        return self.data, (LINK.peer, gateways.PORT)


@pytest.fixture
def one():
    """An exchange with one pair, two gateways; what it hands over is in ``stepped``."""
    stepped = []

    async def step_down(number, reason):
        stepped.append((number, reason))

    exchange = gateways.Exchange(step_down, lambda _: True)
    exchange._sides[1] = gateways._Side(PAIR, [gateways._Watched(gateway) for gateway in PAIR.gateways])
    exchange.stepped = stepped
    return exchange


def lose(exchange, *ips):
    for watched in exchange._sides[1].watched:
        watched.up = watched.gateway.ip not in ips


@pytest.mark.parametrize(
    ("lost", "said", "better", "lacks"),
    [
        ([], {"well": True, "lost": []}, True, ""),
        (["10.0.0.1"], {"well": True, "lost": []}, True, "10.0.0.1"),
        (["10.0.0.1"], {"well": True, "lost": ["10.0.0.1"]}, True, ""),
        (["10.0.0.1"], {"well": True, "lost": ["10.0.0.2"]}, False, "10.0.0.1"),
        (["10.0.0.1", "10.0.0.2"], {"well": True, "lost": ["10.0.0.2"]}, True, "10.0.0.1"),
        (["10.0.0.1"], {"well": False, "lost": []}, False, "10.0.0.1"),
        (["10.0.0.1"], {"all": True}, False, ""),
    ],
)
def test_who_has_more(one, lost, said, better, lacks):
    lose(one, *lost)
    one._hear(LINK, Heard({"pair": 1, **said}))
    assert (one.better(1), one.lacks(1)) == (better, lacks)


def test_a_gateway_that_nobody_reaches_moves_nothing_and_hides_no_other(one):
    lose(one, "10.0.0.1", "10.0.0.2")
    one._hear(LINK, Heard({"pair": 1, "well": True, "lost": ["10.0.0.1"]}))
    asyncio.run(one._lost(1, "10.0.0.1"))
    assert one.stepped == []
    asyncio.run(one._lost(1, "10.0.0.2"))
    assert one.stepped == [(1, "gateway 10.0.0.2 does not answer")]


@pytest.mark.parametrize("said", [b"", b"[]", b'{"pair": 1}', b'{"pair": 1, "well": 1, "lost": 5}', b"\xff"])
def test_what_is_no_word_of_the_peer_is_passed_over(one, said):
    one._hear(LINK, Heard(said))
    assert not one.better(1)


def test_a_peer_is_believed_for_two_seconds(one, monkeypatch):
    one._hear(LINK, Heard({"pair": 1, "well": True, "lost": []}))
    now = gateways.time.monotonic()
    monkeypatch.setattr(gateways.time, "monotonic", lambda: now + 2.5)
    assert not one.alive(1)
    assert not one.better(1)


def test_a_link_of_ipv6_is_listened_on(one):
    six = Link("lo", "::1", "::1")

    async def listen():
        one._listen(six)
        assert one._sockets[six].family == socket.AF_INET6
        one._sockets.pop(six).close()

    asyncio.run(listen())


def test_an_address_that_comes_later_is_listened_on_from_the_beginning(one):
    async def listen():
        link = Link("lo", "192.0.2.77", "192.0.2.78")
        six = Link("lo", "2001:db8::77", "2001:db8::78")
        await one.follow(2, Pair((link, six), preferred=True, heartbeat=0.1))
        bound = {key.own: sock.getsockname()[0] for key, sock in one._sockets.items()}
        await one.forget(2)
        return bound

    assert asyncio.run(listen()) == {"192.0.2.77": "192.0.2.77", "2001:db8::77": "2001:db8::77"}

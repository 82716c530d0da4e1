"""Gateways that are watched, and what two engines tell each other of them.

Each engine pings its gateways, and tells the peer twice a second which it has lost, and whether it is well in all
else. The active engine hands over to one that is well and has lost less than itself; nobody hands over to one that says
nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from dataplane import probe_raw
from dataplane.failover_model import Gateway, Link, Pair
from dataplane.model import Row

_LOG = logging.getLogger(__name__)
PORT = 3790
TELL_SECONDS = 0.5
FRESH_SECONDS = 2.0
_FREEBIND = {
    socket.AF_INET: (socket.IPPROTO_IP, 15),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 78),
}
"""To bind to an address that is not there yet (or on trial): level and option of linux/in.h and linux/in6.h."""
StepDown = Callable[[int, str], Awaitable[None]]


@dataclass
class _Watched:
    """A gateway. ``up`` until it has failed often enough; ``seen``: it answered at least once."""

    gateway: Gateway
    up: bool = True
    good: int = 0
    bad: int = 0

    def count(self, *, answered: bool) -> None:
        self.good, self.bad = (self.good + 1, 0) if answered else (0, self.bad + 1)
        if self.bad >= self.gateway.fall:
            self.up = False
        elif self.good >= self.gateway.rise:
            self.up = True


@dataclass
class _Side:
    pair: Pair
    watched: list[_Watched]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    heard: float = 0.0
    peer_well: bool = False
    peer_lost: frozenset[str] = frozenset()

    @property
    def lost(self) -> frozenset[str]:
        """The gateways that do not answer us."""
        return frozenset(one.gateway.ip for one in self.watched if not one.up)


class Exchange:
    """Of one engine. ``step_down`` is called with the number of a pair and the reason; ``well`` says of a pair whether
    the engine is so in all else.
    """

    def __init__(self, step_down: StepDown, well: Callable[[int], bool]) -> None:
        self._step_down = step_down
        self._well = well
        self._sides: dict[int, _Side] = {}
        self._sockets: dict[Link, socket.socket] = {}

    def alive(self, number: int) -> bool:
        """Whether the peer has said something of late."""
        side = self._sides.get(number)
        return side is not None and time.monotonic() - side.heard < FRESH_SECONDS

    def better(self, number: int) -> bool:
        """Whether the peer has said of late that it is well, and that it has lost no gateway which we reach."""
        side = self._sides.get(number)
        return side is not None and self.alive(number) and side.peer_well and side.peer_lost <= side.lost

    def lacks(self, number: int) -> str:
        """A gateway that only the peer reaches; "" when there is none."""
        side = self._sides.get(number)
        return min(side.lost - side.peer_lost, default="") if side is not None and self.alive(number) else ""

    def gateways(self, number: int) -> list[Row]:
        """Keys: ip, up."""
        side = self._sides.get(number)
        return [{"ip": one.gateway.ip, "up": one.up} for one in side.watched] if side else []

    async def follow(self, number: int, pair: Pair) -> None:
        """Begin, or go on with other gateways."""
        old = self._sides.get(number)
        if old is not None and (old.pair.links, old.pair.gateways) == (pair.links, pair.gateways):
            old.pair = pair
            return
        await self.forget(number)
        side = self._sides[number] = _Side(pair, [_Watched(gateway) for gateway in pair.gateways])
        loop = asyncio.get_running_loop()
        side.tasks = [loop.create_task(self._ping(number, one)) for one in side.watched]
        side.tasks.append(loop.create_task(self._tell(number, side)))
        for link in pair.links:
            if link not in self._sockets:
                self._listen(link)

    async def forget(self, number: int) -> None:
        """End what ``follow`` began."""
        side = self._sides.pop(number, None)
        if side is not None:
            for task in side.tasks:
                task.cancel()
            await asyncio.gather(*side.tasks, return_exceptions=True)
        used = {link for other in self._sides.values() for link in other.pair.links}
        for link in self._sockets.keys() - used:
            ended = self._sockets.pop(link)
            asyncio.get_running_loop().remove_reader(ended)
            ended.close()

    def _listen(self, link: Link) -> None:
        family = socket.AF_INET6 if ":" in link.own else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.setsockopt(*_FREEBIND[family], 1)  # the address may be on trial still, or come later
            opened.bind((link.own, PORT))
        except OSError as error:
            opened.close()
            _LOG.warning("the peer %s cannot be heard: %s", link.peer, error)
            return
        self._sockets[link] = opened
        asyncio.get_running_loop().add_reader(opened, self._hear, link, opened)

    def _hear(self, link: Link, opened: socket.socket) -> None:
        """{"pair": number, "well": whether all but gateways is, "lost": [ip]}; what is no such thing is passed over."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            data, sender = opened.recvfrom(65536)
            said = json.loads(data)
            side, well, lost = self._sides.get(said["pair"]), bool(said["well"]), frozenset(map(str, said["lost"]))
            if sender[0] == link.peer and side is not None:
                side.heard, side.peer_well, side.peer_lost = time.monotonic(), well, lost

    async def _tell(self, number: int, side: _Side) -> None:
        while True:
            word = json.dumps({"pair": number, "well": self._well(number), "lost": sorted(side.lost)}).encode()
            for link in side.pair.links:
                with suppress(OSError, KeyError):  # a link that is down
                    self._sockets[link].sendto(word, (link.peer, PORT))
            await asyncio.sleep(TELL_SECONDS)

    async def _ping(self, number: int, one: _Watched) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            answered = False
            with suppress(OSError):
                async with asyncio.timeout(one.gateway.interval):
                    await probe_raw.ping(one.gateway.ip)
                    answered = True
            one.count(answered=answered)
            if not one.up:
                await self._lost(number, one.gateway.ip)
            await asyncio.sleep(max(one.gateway.interval - (loop.time() - began), 0.0))

    async def _lost(self, number: int, ip: str) -> None:
        if self.better(number) and ip not in self._sides[number].peer_lost:
            await self._step_down(number, f"gateway {ip} does not answer")

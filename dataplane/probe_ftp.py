"""Fetching a file by FTP, as a test."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dataplane.health_model import Probe
from dataplane.probe_verdict import failed

_PASSIVE = re.compile(r"\|\|\|(\d+)\|")
_MOST_LINES = 100


async def fetch(probe: Probe, ip: str, port: int) -> None:
    """Log in and fetch ``probe.request``, up to its first bytes. Raises Failed, OSError, ValueError."""
    reader, writer = await asyncio.open_connection(ip, port)
    try:
        control = _Control(reader, writer)
        await control.expect("2")
        if (await control.ask(f"USER {probe.user or 'anonymous'}", "23")).startswith("3"):
            await control.ask(f"PASS {probe.password or 'avish@'}", "2")
        await control.ask("TYPE I", "2")
        way = _passive if probe.passive else _active
        async with way(control, ip) as data:
            await control.ask(f"RETR {probe.request}", "1")
            if not await (await data).read(1):
                await control.expect("2")  # an empty file is a file, if the server says so
    finally:
        writer.transport.abort()


class _Control:
    """The control connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def ask(self, command: str, kinds: str) -> str:
        """Send a command; the answer, whose first digit must be one of ``kinds``."""
        if "\r" in command or "\n" in command:
            raise failed("OTHER_ERROR", "a line break in a name")
        self.writer.write(f"{command}\r\n".encode())
        return await self.expect(kinds, command.partition(" ")[0])

    async def expect(self, kinds: str, command: str = "the greeting") -> str:
        """The next answer."""
        for _ in range(_MOST_LINES):
            line = (await self._reader.readline()).decode("latin-1")
            if not line:
                raise failed("NO_RESPONSE", "the server closed the control connection")
            if re.match(r"\d{3} ", line):
                if line[0] not in kinds:
                    raise failed("RESPONSE_CODE_MISMATCH", f"{command}: the server answers {line.strip()}")
                return line
        raise failed("OTHER_ERROR", "the server talks without end")


@asynccontextmanager
async def _passive(control: _Control, ip: str) -> AsyncIterator[asyncio.Future[asyncio.StreamReader]]:
    answer = await control.ask("EPSV", "2")
    found = _PASSIVE.search(answer)
    if found is None:
        raise failed("OTHER_ERROR", f"EPSV: the server answers {answer.strip()}")
    reader, writer = await asyncio.open_connection(ip, int(found[1]))
    try:
        ready: asyncio.Future[asyncio.StreamReader] = asyncio.get_running_loop().create_future()
        ready.set_result(reader)
        yield ready
    finally:
        writer.transport.abort()


@asynccontextmanager
async def _active(control: _Control, _ip: str) -> AsyncIterator[asyncio.Future[asyncio.StreamReader]]:
    own = control.writer.get_extra_info("sockname")[0]
    ready: asyncio.Future[asyncio.StreamReader] = asyncio.get_running_loop().create_future()
    opened: list[asyncio.StreamWriter] = []

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        if not ready.done():
            ready.set_result(reader)

    server = await asyncio.start_server(take, own, 0)
    try:
        port = server.sockets[0].getsockname()[1]
        family = 2 if server.sockets[0].family == socket.AF_INET6 else 1
        await control.ask(f"EPRT |{family}|{own}|{port}|", "2")
        yield ready
    finally:
        server.close()
        for writer in opened:
            writer.transport.abort()

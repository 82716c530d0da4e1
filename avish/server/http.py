"""HTTP on the Unix socket. Every answer is JSON, also a refusal, also a bug."""

from __future__ import annotations

import asyncio
import json
import logging
import pwd
import secrets
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from aiohttp import web

from avish.api.request import Request, Response
from avish.controller.access import SUPERUSER
from avish.server.sockets import peer

log = logging.getLogger(__name__)

BODY_LIMIT = 32 * 1024 * 1024
READERS = 16
WRITERS = 4
"""Requests worked on at the same time; writes wait for each other and must not keep reads waiting."""
STREAMS = 256
"""Streams followed at the same time, one a session and one a capture; each takes a thread while it waits."""
Handle = Callable[[Request], Response]


def user_of(uid: int) -> str:
    """Root is the superuser; anybody else is who the system says, "" if it does not know."""
    if uid == 0:
        return SUPERUSER
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
    return "" if name == SUPERUSER else name


class Front:
    """Serves ``handle`` on a listening Unix socket, for as long as ``run`` does."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="read")
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="write")
        self._streams = ThreadPoolExecutor(STREAMS, thread_name_prefix="stream")
        self._followed = 0

    async def run(self, listener: socket.socket, ended: asyncio.Event) -> None:
        """Serve until ``ended``; open streams are closed then."""
        application = web.Application(client_max_size=BODY_LIMIT)
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0, handle_signals=False)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        await ended.wait()
        await runner.cleanup()
        self._writers.shutdown(wait=True)
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._streams.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, http: web.Request) -> web.StreamResponse:
        try:
            request, data = _request(http), await _read(http)
            pool = self._readers if request.method == "GET" else self._writers
            response, text = await asyncio.get_running_loop().run_in_executor(pool, self._guarded, request, data)
            if response.stream is not None:
                return await self._follow(http, response, response.stream)
        except _RefusedError as refusal:
            response = Response(refusal.status, {"error": str(refusal)})
            text = _encoded(response)
        return web.Response(
            status=response.status, body=text, headers=dict(response.headers), content_type="application/json"
        )

    def _guarded(self, request: Request, data: bytes) -> tuple[Response, bytes]:
        """The answer, and its body as it is sent. Runs in a thread: a large body takes its time on both ways."""
        try:
            response = self._handle(replace(request, body=_decoded(data)))
            return response, _encoded(response)
        except _RefusedError:
            raise
        except Exception:  # a bug: the caller gets a reference, the log the details
            reference = secrets.token_hex(4)
            log.exception("internal error %s at %s %s", reference, request.method, request.path)
            response = Response(500, {"error": f"internal error, reference {reference} in the controller's log"})
            return response, _encoded(response)

    async def _follow(
        self, http: web.Request, response: Response, events: Iterator[dict[str, Any]]
    ) -> web.StreamResponse:
        self._followed += 1
        try:
            if self._followed > STREAMS:
                raise _RefusedError(503, f"{STREAMS} streams are followed already")
            return await self._stream(http, response, events)
        finally:
            self._followed -= 1
            close = getattr(events, "close", None)
            if close is not None:
                await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, close))

    async def _stream(
        self, http: web.Request, response: Response, events: Iterator[dict[str, Any]]
    ) -> web.StreamResponse:
        out = web.StreamResponse(status=response.status, headers=dict(response.headers))
        out.content_type = "application/x-ndjson"
        out.enable_chunked_encoding()
        loop = asyncio.get_running_loop()
        try:
            await out.prepare(http)
            while (event := await loop.run_in_executor(self._streams, next, events, None)) is not None:
                await out.write(json.dumps(event).encode() + b"\n")
            await out.write_eof()
        except ConnectionError:
            log.debug("a reader of %s went away", http.path)
        return out


class _RefusedError(Exception):
    """A request that is none. ``status`` of the answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _request(http: web.Request) -> Request:
    """The request but for its body."""
    transport = http.transport
    if transport is None:
        raise _RefusedError(400, "the connection is gone")
    pid, uid = peer(transport.get_extra_info("socket"))
    return Request(
        method=http.method,
        path=http.path,
        query=dict(http.query),
        user=user_of(uid),
        source=f"unix socket, process {pid}",
        host=http.headers.get("Host", "localhost"),
        headers={name.lower(): value for name, value in http.headers.items()},
    )


async def _read(http: web.Request) -> bytes:
    try:
        return await http.read()
    except web.HTTPRequestEntityTooLarge:
        raise _RefusedError(413, f"the body is larger than {BODY_LIMIT >> 20} MB") from None


def _encoded(response: Response) -> bytes:
    return b"" if response.body is None else json.dumps(response.body, ensure_ascii=False).encode()


def _decoded(data: bytes) -> Any:
    if not data:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _RefusedError(400, f"the body is not JSON: {error}") from None

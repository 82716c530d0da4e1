"""HTTP on the Unix socket, and HTTPS. Every answer is JSON, also a refusal, also a bug."""

from __future__ import annotations

import asyncio
import json
import logging
import pwd
import re
import secrets
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from avish.api.request import Request, Response
from avish.controller.access import SUPERUSER
from avish.controller.signin import LOGIN
from avish.server.sockets import BACKLOG, peer

log = logging.getLogger(__name__)

BODY_LIMIT = 32 * 1024 * 1024
LOGIN_LIMIT = 16 * 1024
"""Of a body from somebody who has not said yet who he is."""
FILE_LIMIT = 128 * 1024 * 1024
"""Of a configuration to import: ten thousand services with every field are 45 MB."""
READERS = 16
WRITERS = 4
"""Requests worked on at the same time; writes wait for each other and must not keep reads waiting."""
STREAMS = 256
"""Streams followed at the same time, one a session and one a capture; each takes a thread while it waits."""
LOGINS, LOGINS_WAITING = 2, 64
"""Passwords compared at the same time, each at the price of 32 MB; and how many may wait for that."""
HANDSHAKE_SECONDS, SILENT_SECONDS, BODY_SECONDS = 10.0, 30.0, 60.0
"""What a client may take for TLS, until its first request is there, and for a body."""
LINGER_SECONDS = 2.0
"""The rest of a refused body is read on for so long, so that the answer gets through."""
HEARTBEAT_SECONDS = 30.0
HOST = re.compile(r"[A-Za-z0-9.:_\[\]-]{1,255}")
SECURE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Cache-Control": "no-store",
}
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


@dataclass(frozen=True, slots=True)
class Door:
    """A listening socket. ``via``: "unix", "https" or "ssh"; with ``tls``, what comes in is encrypted."""

    listener: socket.socket
    via: str = "unix"
    tls: ssl.SSLContext | None = None


class _Handler(RequestHandler):
    """aiohttp's, but also what is no HTTP gets its answer in JSON, and who says nothing is cut off."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._patience = asyncio.get_running_loop().call_later(SILENT_SECONDS, self._silent)
        self.heard = False

    def connection_lost(self, exc: BaseException | None) -> None:
        self._patience.cancel()
        super().connection_lost(exc)

    def _silent(self) -> None:
        if not self.heard:
            self.force_close()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        text = (message or "this is no HTTP request").splitlines()[0][:200]
        response = web.Response(status=status, body=_json({"error": text}), content_type="application/json")
        response.force_close()
        return response


_NO_ACCESS_LOG = logging.getLogger("avish.access")
"""The audit says what was done, and by whom."""
_NO_ACCESS_LOG.setLevel(logging.CRITICAL)


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Handler(
            self,
            loop=asyncio.get_running_loop(),
            access_log=_NO_ACCESS_LOG,
            tcp_keepalive=True,
            auto_decompress=False,
            lingering_time=LINGER_SECONDS,
        )


async def _start(loop: asyncio.AbstractEventLoop, server: _Server, door: Door) -> asyncio.Server:
    if door.listener.family == socket.AF_UNIX:
        return await loop.create_unix_server(server, sock=door.listener, backlog=BACKLOG)
    patience = HANDSHAKE_SECONDS if door.tls else None
    return await loop.create_server(
        server, sock=door.listener, backlog=BACKLOG, ssl=door.tls, ssl_handshake_timeout=patience
    )


class Front:
    """Serves ``handle`` on listening sockets, for as long as ``run`` does."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="read")
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="write")
        self._logins = ThreadPoolExecutor(LOGINS, thread_name_prefix="login")
        self._streams = ThreadPoolExecutor(STREAMS, thread_name_prefix="stream")
        self._followed = 0
        self._logging_in = 0
        self._open: list[asyncio.Server] = []

    async def run(self, listener: socket.socket | Sequence[Door], ended: asyncio.Event) -> None:
        """Serve until ``ended``; open streams are closed then."""
        doors = [Door(listener)] if isinstance(listener, socket.socket) else listener
        served = [(door, self._server(door)) for door in doors]
        loop = asyncio.get_running_loop()
        for door, server in served:
            self._open.append(await _start(loop, server, door))
        await ended.wait()
        for listening in self._open:
            listening.close()
        for _, server in served:
            await server.shutdown(1.0)
        self._logins.shutdown(wait=False, cancel_futures=True)
        self._writers.shutdown(wait=True)
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._streams.shutdown(wait=False, cancel_futures=True)

    def _server(self, door: Door) -> _Server:
        async def answer(http: web.BaseRequest) -> web.StreamResponse:
            return await self._answer(http, door.via)

        return _Server(answer, request_factory=_made)

    async def _answer(self, http: web.BaseRequest, via: str) -> web.StreamResponse:
        if isinstance(http.protocol, _Handler):
            http.protocol.heard = True
        try:
            request = _request(http, via)
            data = await _read(http, request)
            response, text = await self._worked_on(request, data)
            if response.stream is not None:
                return await self._follow(http, response, response.stream, via)
            if response.file:
                return web.FileResponse(response.file, headers=dict(response.headers))
        except _RefusedError as refusal:
            response = Response(refusal.status, {"error": str(refusal)})
            text = _encoded(response)
        kind = "text/plain" if response.text else "application/json"
        answer = web.Response(status=response.status, body=text, headers=_headers(response, via), content_type=kind)
        for cookie in response.cookies:
            answer.headers.add("Set-Cookie", cookie)
        return answer

    async def _worked_on(self, request: Request, data: bytes) -> tuple[Response, bytes]:
        """Passwords are worked on apart from everything else, and only so many wait."""
        login = request.path.rstrip("/") == LOGIN or "authorization" in request.headers
        pool = self._logins if login else self._readers if request.method in ("GET", "HEAD") else self._writers
        if login and self._logging_in >= LOGINS_WAITING:
            raise _RefusedError(503, "too many logins at once; try again in a moment")
        self._logging_in += login
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, self._guarded, request, data)
        finally:
            self._logging_in -= login

    def _guarded(self, request: Request, data: bytes) -> tuple[Response, bytes]:
        """The answer, and its body as it is sent. Runs in a thread: a large body takes its time on both ways."""
        try:
            response = self._handle(replace(request, body=_decoded(request, data)))
            return response, _encoded(response)
        except _RefusedError:
            raise
        except Exception:  # a bug: the caller gets a reference, the log the details
            reference = secrets.token_hex(4)
            log.exception("internal error %s at %s %s", reference, request.method, request.path)
            response = Response(500, {"error": f"internal error, reference {reference} in the controller's log"})
            return response, _encoded(response)

    async def _follow(
        self, http: web.BaseRequest, response: Response, events: Iterator[dict[str, Any]], via: str
    ) -> web.StreamResponse:
        self._followed += 1
        try:
            if self._followed > STREAMS:
                raise _RefusedError(503, f"{STREAMS} streams are followed already")
            if http.headers.get("Upgrade", "").lower() == "websocket":
                return await self._socket(http, events, via)
            return await self._stream(http, response, events)
        finally:
            self._followed -= 1
            close = getattr(events, "close", None)
            if close is not None:
                await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, close))

    async def _socket(self, http: web.BaseRequest, events: Iterator[dict[str, Any]], via: str) -> web.StreamResponse:
        """The events as messages of a WebSocket, until either side has enough."""
        origin, host = http.headers.get("Origin", ""), http.headers.get("Host", "")
        if via == "https" and origin and origin.partition("://")[2] != host:
            raise _RefusedError(403, f"a page of {origin[:100]} may not follow this")
        out = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS, max_msg_size=4096)
        if not out.can_prepare(http):
            raise _RefusedError(400, "this is no WebSocket handshake")
        await out.prepare(http)
        reader = asyncio.create_task(_until_closed(out))
        loop = asyncio.get_running_loop()
        try:
            while not reader.done() and (event := await loop.run_in_executor(self._streams, next, events, None)):
                if event.get("event") != "idle":
                    await out.send_json(event)
            await out.close()
        except ConnectionError:
            log.debug("a reader of %s went away", http.path)
        finally:
            reader.cancel()
        return out

    async def _stream(
        self, http: web.BaseRequest, response: Response, events: Iterator[dict[str, Any]]
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


async def _until_closed(out: web.WebSocketResponse) -> None:
    """What the other side says is of no interest, but that it goes."""
    async for _ in out:
        pass


class _RefusedError(Exception):
    """A request that is none. ``status`` of the answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _made(message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_limit(message.path))


def _limit(path: str) -> int:
    """Bytes of a body."""
    if path.partition("?")[0].rstrip("/") == LOGIN:
        return LOGIN_LIMIT
    return FILE_LIMIT if path.startswith("/api/configuration/import") else BODY_LIMIT


def _request(http: web.BaseRequest, via: str) -> Request:
    """The request but for its body."""
    transport = http.transport
    if transport is None:
        raise _RefusedError(400, "the connection is gone")
    headers = {name.lower(): value for name, value in http.headers.items()}
    if len(http.headers.getall("Cookie", ())) > 1:
        headers["cookie"] = "; ".join(http.headers.getall("Cookie"))
    user = ""
    if via == "unix":
        pid, uid = peer(transport.get_extra_info("socket"))
        user, source = user_of(uid), f"unix socket, process {pid}"
    elif via == "ssh":
        source = headers.get("x-avish-source", "ssh")
    else:
        source = str((transport.get_extra_info("peername") or ("?",))[0])
    try:
        query = dict(http.query)
    except ValueError:
        raise _RefusedError(400, "the query is not readable") from None
    return Request(
        method=http.method,
        path=http.path,
        query=query,
        user=user,
        source=source,
        host=_host(headers.get("host", "")),
        headers=headers,
        via=via,
    )


def _host(given: str) -> str:
    """The caller's name for this controller: it comes back in URLs, so nothing else may stand there."""
    return given if HOST.fullmatch(given) else "localhost"


def _is_stranger(request: Request) -> bool:
    """Whether a request will be refused whatever its body says: nothing tells who sends it."""
    known = "cookie" in request.headers or "authorization" in request.headers
    return request.via == "https" and not known and request.path.rstrip("/") != LOGIN


async def _read(http: web.BaseRequest, request: Request) -> bytes:
    if (coding := request.headers.get("content-encoding", "identity").lower()) != "identity":
        raise _RefusedError(415, f"bodies are not taken in Content-Encoding {coding[:50]!r}")
    if _is_stranger(request):
        return b""
    if expected := request.headers.get("expect"):
        if expected.lower() != "100-continue":
            raise _RefusedError(417, f"nothing here meets the expectation {expected[:50]!r}")
        await http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        http.writer.output_size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await http.read()
    except web.HTTPRequestEntityTooLarge:
        limit = _limit(http.path) >> 10
        text = f"{limit >> 10} MB" if limit >= 1024 else f"{limit} kB"
        raise _RefusedError(413, f"the body is larger than {text}") from None
    except TimeoutError:
        raise _RefusedError(408, f"the body did not come within {BODY_SECONDS:.0f} s") from None
    except (aiohttp.ClientPayloadError, aiohttp.http_exceptions.BadHttpMessage) as error:
        raise _RefusedError(400, f"the body is not readable: {error}") from None


def _headers(response: Response, via: str) -> dict[str, str]:
    return {"Server": "avish", **response.headers, **(SECURE if via == "https" else {})}


def _encoded(response: Response) -> bytes:
    if response.text:
        return response.text.encode()
    return b"" if response.body is None else _json(response.body)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _decoded(request: Request, data: bytes) -> Any:
    """JSON; a form where a login sends one, as the vendor's client does."""
    if not data:
        return None
    kind = request.headers.get("content-type", "").lower()
    if kind.startswith("multipart/"):
        raise _RefusedError(415, f"files are not uploaded to {request.path[:200]}: bodies are JSON, files go by scp")
    if kind.startswith("application/x-www-form-urlencoded"):
        try:
            return dict(parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=20))
        except ValueError:
            raise _RefusedError(400, "the body is no form") from None
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _RefusedError(400, f"the body is not JSON: {error}") from None

"""One test of one server, from an address of the engine: TCP, UDP, ping, HTTP(S), FTP, or a script."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from dataplane import probe_ftp, probe_raw, probe_script
from dataplane.health_model import Probe, ProbeKind
from dataplane.probe_verdict import Failed, Maintenance, failed, searched

_GOODBYE_SECONDS = 0.5
"""So long a server may go on talking when the test is over."""
_leaving: set[asyncio.Task[None]] = set()
_CODES = {
    errno.ECONNREFUSED: ("CONNECTION_REFUSED", "connection refused"),
    errno.ECONNRESET: ("CONNECTION_RESET", "connection reset"),
    errno.EHOSTUNREACH: ("SERVER_UNREACHABLE", "host unreachable"),
    errno.ENETUNREACH: ("SERVER_UNREACHABLE", "network unreachable"),
    errno.ETIMEDOUT: ("CONNECTION_TIMEOUT", "connection timed out"),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """``up``, or ``code`` (a failure code of the original) and ``reason``; ``milliseconds`` it took."""

    up: bool
    milliseconds: float
    code: str = ""
    reason: str = ""


async def run(probe: Probe, ip: str, port: int) -> Verdict:
    """Test the server once; never raises but for a bug or when it is cancelled."""
    began = time.monotonic()
    code = reason = ""
    try:
        async with asyncio.timeout(probe.timeout):
            await _TESTS[probe.kind](probe, ip, probe.port or port)
    except TimeoutError:
        code, reason = "CONNECTION_TIMEOUT", f"no answer within {probe.timeout:g} s"
    except Failed as failure:
        code, reason = failure.code, str(failure)
    except ssl.SSLError as error:
        code, reason = "SSL_ERROR", f"TLS: {error.reason or error}"
    except OSError as error:
        code, reason = _CODES.get(error.errno or 0, ("CONNECTION_ERROR", error.strerror or str(error)))
    except (EOFError, ValueError) as error:  # what the server says cannot be read
        code, reason = "NO_RESPONSE", str(error) or "the connection ended early"
    return Verdict(not code, 1000 * (time.monotonic() - began), code, reason)


async def _tcp(probe: Probe, ip: str, port: int) -> None:
    if probe.half_open:
        await probe_raw.half_open(ip, port)
        return
    reader, writer = await asyncio.open_connection(ip, port)
    try:
        if probe.request or probe.response or probe.maintenance:
            writer.write(_unescaped(probe.request))
            await _read_until(probe, reader)
    finally:
        _leave(reader, writer)


async def _read_until(probe: Probe, reader: asyncio.StreamReader) -> None:
    """Until the wanted text is there. Raises Failed when it can no longer come."""
    data = b""
    while len(data) < probe.size and (piece := await reader.read(probe.size - len(data))):
        data += piece
        if searched(probe, data):
            return
    if not data:
        raise failed("NO_RESPONSE", "the server closed without an answer")
    raise failed("PAYLOAD_CONTENT_MISMATCH", f"{probe.response!r} is not in the answer")


async def _http(probe: Probe, ip: str, port: int) -> None:
    context = _tls() if probe.kind == "https" else None
    name = (probe.server_name or None) if context else None
    reader, writer = await asyncio.open_connection(
        ip, port, ssl=context, server_hostname=name or ("" if context else None)
    )
    try:
        writer.write(_http_request(probe, ip, port))
        status = await reader.readline()
        code = _status(status)
        if code in probe.maintenance_codes:
            raise Maintenance("MAINTENANCE_RESPONSE_CODE", f"maintenance: the server answers {code}")
        if probe.codes and not {f"HTTP_{code // 100}XX", "HTTP_ANY"} & set(probe.codes):
            raise failed("RESPONSE_CODE_MISMATCH", f"the server answers {code}")
        if probe.response or probe.maintenance:
            await _search_all(probe, reader)
    finally:
        _leave(reader, writer)


def _status(line: bytes) -> int:
    words = line.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise failed("NO_RESPONSE", "the answer is not HTTP" if line else "the server closed without an answer")
    return int(words[1])


async def _search_all(probe: Probe, reader: asyncio.StreamReader) -> None:
    """Look through the first ``size`` bytes; they may end earlier."""
    data = b""
    while len(data) < probe.size and (piece := await reader.read(probe.size - len(data))):
        data += piece
        if probe.response and not probe.maintenance and searched(probe, data):
            return
    if not searched(probe, data):
        raise failed("PAYLOAD_CONTENT_MISMATCH", f"{probe.response!r} is not in the answer")


def _http_request(probe: Probe, ip: str, port: int) -> bytes:
    text = probe.request or "GET / HTTP/1.0"
    if probe.exact:
        return _unescaped(text) + probe.body.encode()
    head = text.replace("\\r\\n", "\r\n").rstrip("\r\n")
    host = f"[{ip}]" if ":" in ip else ip
    present = {line.partition(":")[0].strip().lower() for line in head.split("\r\n")[1:]}
    headers = {"Host": f"{host}:{port}", "User-Agent": "avi/1.0", "Accept": "*/*", "Connection": "close"}
    if probe.user:
        headers["Authorization"] = f"Basic {_basic(probe)}"
    if probe.body:
        headers["Content-Length"] = str(len(probe.body.encode()))
    head += "".join(f"\r\n{name}: {value}" for name, value in headers.items() if name.lower() not in present)
    return f"{head}\r\n\r\n{probe.body}".encode()


def _basic(probe: Probe) -> str:
    from base64 import b64encode

    return b64encode(f"{probe.user}:{probe.password}".encode()).decode()


@cache
def _tls() -> ssl.SSLContext:
    """TLS without a look at the certificate: whether the server talks is what is tested."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _unescaped(text: str) -> bytes:
    r"""What is sent for a request as typed: \r \n \t and \xNN stand for those bytes."""
    replaced = text.encode()
    for word, byte in ((rb"\r", b"\r"), (rb"\n", b"\n"), (rb"\t", b"\t")):
        replaced = replaced.replace(word, byte)
    head, *rest = replaced.split(rb"\x")
    for part in rest:
        try:
            head += bytes.fromhex(part[:2].decode()) + part[2:]
        except ValueError:
            head += rb"\x" + part
    return head


def _leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End the connection in peace: some servers do not outlive a reset."""
    task = asyncio.get_running_loop().create_task(_goodbye(reader, writer))
    _leaving.add(task)
    task.add_done_callback(_leaving.discard)


async def _goodbye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_GOODBYE_SECONDS):
            if writer.can_write_eof():
                writer.write_eof()
            while await reader.read(65536):
                pass
    writer.transport.abort()


async def _udp(probe: Probe, ip: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.connect((ip, port))
            await loop.sock_sendall(sender, _unescaped(probe.request))
            data = await loop.sock_recv(sender, 65535)
        except ConnectionRefusedError:
            raise failed("PORT_UNREACHABLE", "port unreachable") from None
    if not searched(probe, data[: probe.size]):
        raise failed("PAYLOAD_CONTENT_MISMATCH", f"{probe.response!r} is not in the answer")


async def _ping(_probe: Probe, ip: str, _port: int) -> None:
    await probe_raw.ping(ip)


_TESTS: Mapping[ProbeKind, Callable[[Probe, str, int], Awaitable[None]]] = {
    "tcp": _tcp,
    "udp": _udp,
    "ping": _ping,
    "http": _http,
    "https": _http,
    "ftp": probe_ftp.fetch,
    "external": probe_script.run,
}

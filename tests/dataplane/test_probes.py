"""Each kind of test against real servers on the loopback device."""

import asyncio
import os
import socket

import pytest

from dataplane import probes
from dataplane.health_model import Probe

HOST = "127.0.0.1"


async def against(serve, probe):
    """The verdict of a probe of a server that ``serve`` makes."""

    async def once(reader, writer):
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(once, HOST, 0)
    async with server:
        return await probes.run(probe, HOST, server.sockets[0].getsockname()[1])


def verdict(probe, serve=None):
    async def nothing(reader, writer):
        await reader.read()

    return asyncio.run(against(serve or nothing, probe))


def saying(text):
    async def serve(reader, writer):
        await reader.read(100)
        writer.write(text)
        await writer.drain()

    return serve


def tcp(**settings):
    return Probe("t", "tcp", timeout=0.5, **settings)


def http(**settings):
    return Probe("h", "http", timeout=0.5, codes=("HTTP_2XX",), **settings)


OK = b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nall is well"


@pytest.mark.parametrize(
    ("probe", "answer", "code"),
    [
        (tcp(), None, ""),
        (tcp(request="ping", response="pong"), b"the pong", ""),
        (tcp(request="ping", response="pong"), b"what?", "PAYLOAD_CONTENT_MISMATCH"),
        (tcp(request="ping", response="pong"), b"", "NO_RESPONSE"),
        (tcp(request="ping", maintenance="closed"), b"closed for today", "MAINTENANCE_RESPONSE"),
        (http(), OK, ""),
        (http(response="well"), OK, ""),
        (http(response="ill"), OK, "PAYLOAD_CONTENT_MISMATCH"),
        (http(maintenance="well"), OK, "MAINTENANCE_RESPONSE"),
        (http(), b"HTTP/1.0 503 No\r\n\r\n", "RESPONSE_CODE_MISMATCH"),
        (http(maintenance_codes=(503,)), b"HTTP/1.0 503 No\r\n\r\n", "MAINTENANCE_RESPONSE_CODE"),
        (http(), b"SSH-2.0-x\r\n", "NO_RESPONSE"),
    ],
)
def test_what_the_server_says(probe, answer, code):
    found = verdict(probe, None if answer is None else saying(answer))
    assert (found.up, found.code) == (not code, code), found.reason


def test_a_silent_server():
    assert verdict(tcp(request="x", response="y")).code == "CONNECTION_TIMEOUT"


def test_a_closed_port():
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
    found = asyncio.run(probes.run(tcp(), HOST, port))
    assert (found.code, found.reason) == ("CONNECTION_REFUSED", "connection refused")


def test_the_request_of_http_is_completed():
    heard = []

    async def serve(reader, writer):
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)

    assert verdict(http(request="HEAD /x HTTP/1.1\\r\\nHost: me"), serve).up
    assert heard[0].startswith(b"HEAD /x HTTP/1.1\r\nHost: me\r\nUser-Agent: avi/1.0\r\n")


@pytest.mark.parametrize(("answer", "code"), [(b"pong", ""), (b"what", "PAYLOAD_CONTENT_MISMATCH")])
def test_udp(answer, code):
    async def run():
        class Echo(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport

            def datagram_received(self, data, address):
                self.transport.sendto(answer, address)

        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, (HOST, 0))
        port = transport.get_extra_info("sockname")[1]
        found = await probes.run(Probe("u", "udp", timeout=0.5, request="ping", response="pong"), HOST, port)
        transport.close()
        return found

    assert asyncio.run(run()).code == code


def test_udp_that_nobody_takes():
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
    assert asyncio.run(probes.run(Probe("u", "udp", timeout=0.5), HOST, port)).code == "PORT_UNREACHABLE"


@pytest.mark.parametrize(("passive", "there"), [(True, True), (False, True), (True, False)])
def test_ftp(passive, there):
    async def serve(reader, writer):
        data = None
        writer.write(b"220-hello\r\n220 ready\r\n")
        while line := await reader.readline():
            word, _, rest = line.decode().strip().partition(" ")
            if word == "USER":
                writer.write(b"331 password\r\n")
            elif word == "EPSV":
                ready = asyncio.get_running_loop().create_future()
                listener = await asyncio.start_server(lambda *pair, ready=ready: ready.set_result(pair), HOST, 0)
                writer.write(b"229 (|||%d|)\r\n" % listener.sockets[0].getsockname()[1])
                data = ready
            elif word == "EPRT":
                data = asyncio.ensure_future(asyncio.open_connection(HOST, int(rest.split("|")[3])))
                writer.write(b"200 ok\r\n")
            elif word == "RETR" and not there:
                writer.write(b"550 no such file\r\n")
            elif word == "RETR":
                writer.write(b"150 here it comes\r\n")
                _, out = await data
                out.write(b"data")
                out.close()
                writer.write(b"226 done\r\n")
            else:
                writer.write(b"230 fine\r\n")

    found = verdict(Probe("f", "ftp", timeout=1.0, request="a.txt", passive=passive), serve)
    assert found.code == ("" if there else "RESPONSE_CODE_MISMATCH"), found.reason


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets and other users need root")
class TestAsRoot:
    @pytest.mark.parametrize(
        ("script", "code"),
        [
            ('echo "$1 $2 $3 $HM_NAME $COLOUR" | grep -qx "127.0.0.1 9 more s blue" && echo up', ""),
            ("#!/usr/bin/env python3\nimport os\nprint(os.getuid() == 65534 and 'up' or 1/0)", ""),
            ("exit 0", "NO_RESPONSE"),
            ("echo trouble >&2", "SCRIPT_ERROR"),
            ("#!/no/such/shell\necho up", "SCRIPT_ERROR"),
            ("sleep 5; echo up", "CONNECTION_TIMEOUT"),
        ],
    )
    def test_a_script(self, script, code):
        probe = Probe("s", "external", timeout=1.0, request=script, arguments=("more",), environment=("COLOUR=blue",))
        found = asyncio.run(probes.run(probe, HOST, 9))
        assert found.code == code, found.reason

    def test_ping(self):
        assert asyncio.run(probes.run(Probe("p", "ping", timeout=0.5), HOST, 0)).up

    def test_half_open(self):
        accepted = []

        async def serve(reader, writer):
            accepted.append(writer)

        assert verdict(tcp(half_open=True), serve).up
        assert not accepted
        with socket.socket() as taken:
            taken.bind((HOST, 0))
            port = taken.getsockname()[1]
        assert asyncio.run(probes.run(tcp(half_open=True), HOST, port)).code == "CONNECTION_REFUSED"

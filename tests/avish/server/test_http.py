from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import stat
import threading

import pytest

from avish.api.request import Response
from avish.server.http import BODY_LIMIT, Front, user_of
from avish.server.sockets import listen, peer

HANG = 20.0


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=HANG)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(HANG)
        self.sock.connect(self.path)


class Events:
    """A stream that gives what it is given, and remembers that it was closed."""

    def __init__(self, events):
        self.events = iter(events)
        self.closed = threading.Event()

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.events)

    def close(self):
        self.closed.set()


class Server:
    """A Front on a socket; ``answer`` is what it answers next, a Response or an exception."""

    def __init__(self, path):
        self.path = path / "s.sock"
        self.seen = []
        self.answer = Response(200, {"fine": True})
        self.loop = asyncio.new_event_loop()
        self.ended = asyncio.Event()
        listener = listen(self.path, None)
        self.thread = threading.Thread(
            target=self.loop.run_until_complete, args=(Front(self.handle).run(listener, self.ended),)
        )
        self.thread.start()

    def handle(self, request):
        self.seen.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def stop(self):
        self.loop.call_soon_threadsafe(self.ended.set)
        self.thread.join(HANG)
        self.loop.close()

    def ask(self, method="GET", path="/api/pool", body=None, headers=None):
        connection = Connection(self.path)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            data = response.read()
            return response, json.loads(data) if data else None
        finally:
            connection.close()


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    yield server
    server.stop()


def test_a_request_arrives_whole(server):
    server.ask("PUT", "/api//pool/x%20y?name=a%26b&include_name", json.dumps({"ä": 1}), {"Slug": "s", "Host": "c:1"})
    request = server.seen[0]
    assert (request.method, request.path, request.body) == ("PUT", "/api//pool/x y", {"ä": 1})
    assert request.query == {"name": "a&b", "include_name": ""}
    assert (request.host, request.headers["slug"]) == ("c:1", "s")
    assert request.user == user_of(os.getuid())
    assert str(os.getpid()) in request.source


def test_an_answer_arrives_whole(server):
    server.answer = Response(201, {"name": "ä"}, {"Location": "here"})
    response, body = server.ask("POST", body="{}")
    assert (response.status, body, response.headers["Location"]) == (201, {"name": "ä"}, "here")
    server.answer = Response(204)
    assert server.ask("DELETE")[1] is None


def test_a_bug_is_a_reference_and_never_a_traceback(server, caplog):
    server.answer = ValueError("secret inside")
    response, body = server.ask()
    assert response.status == 500
    assert "secret" not in body["error"]
    reference = body["error"].split("reference ")[1].split()[0]
    assert reference in caplog.text
    assert "secret inside" in caplog.text


@pytest.mark.parametrize("body", ["{", "\x00", '{"a": NaN', "[" * 100_000])
def test_what_is_not_json_is_refused(server, body):
    response, answer = server.ask("POST", body=body)
    assert response.status == 400
    assert "not JSON" in answer["error"]
    assert server.seen == []


def test_a_body_too_large_is_refused(server):
    response, answer = server.ask("POST", body=b" " * (BODY_LIMIT + 1))
    assert response.status == 413
    assert "32 MB" in answer["error"]


def test_a_stream_is_json_lines_until_its_end(server):
    events = Events([{"event": "packet", "line": "a"}, {"event": "ended"}])
    server.answer = Response(200, stream=events)
    connection = Connection(server.path)
    connection.request("GET", "/api/x")
    response = connection.getresponse()
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert [json.loads(line) for line in response.read().splitlines()] == [
        {"event": "packet", "line": "a"},
        {"event": "ended"},
    ]
    assert events.closed.wait(HANG)
    connection.close()


def test_a_reader_that_goes_ends_the_stream(server):
    go_on = threading.Event()

    def forever():
        while True:
            go_on.wait(0.05)
            yield {"event": "idle"}

    events = Events(forever())
    server.answer = Response(200, stream=events)
    connection = Connection(server.path)
    connection.request("GET", "/api/x")
    response = connection.getresponse()
    assert response.readline()
    response.close()
    connection.close()
    assert events.closed.wait(HANG)


def test_one_follower_too_many_is_refused(server, monkeypatch):
    monkeypatch.setattr("avish.server.http.STREAMS", 1)
    goes_on = threading.Event()

    def one_event():
        yield {"event": "started"}
        goes_on.wait(HANG)

    server.answer = Response(200, stream=Events(one_event()))
    connection = Connection(server.path)
    connection.request("GET", "/api/x")
    response = connection.getresponse()
    assert response.readline()
    second = Events([])
    server.answer = Response(200, stream=second)
    refused, body = server.ask()
    assert (refused.status, "followed already" in body["error"]) == (503, True)
    assert second.closed.wait(HANG)
    goes_on.set()
    assert response.read() == b""
    connection.close()
    assert server.ask()[0].status == 200


def test_an_answer_that_is_not_json_is_a_bug_with_a_reference(server, caplog):
    server.answer = Response(200, {"results": {1, 2}})
    response, body = server.ask()
    assert response.status == 500
    assert body["error"].split("reference ")[1].split()[0] in caplog.text


def test_the_socket_is_for_its_owner_only(tmp_path):
    listener = listen(tmp_path / "a.sock", None)
    assert stat.S_IMODE((tmp_path / "a.sock").stat().st_mode) == 0o600
    listener.close()
    again = listen(tmp_path / "a.sock", os.getgid())
    assert stat.S_IMODE((tmp_path / "a.sock").stat().st_mode) == 0o660
    again.close()


def test_root_is_admin_and_nobody_else_is():
    assert user_of(0) == "admin"
    assert user_of(65534) == "nobody"
    assert user_of(4_000_000) == ""


def test_the_peer_is_who_the_kernel_says():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert peer(ours) == (os.getpid(), os.getuid())

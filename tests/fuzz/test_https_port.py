"""Requests that nobody would send, at the real HTTPS port: each gets an answer that says so, and the controller stays."""

from __future__ import annotations

import json
import re
import socket
import ssl
import tempfile
import time
from pathlib import Path

import pytest
from httpsrig import HttpsRig, Web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = 150
PATIENCE, SILENCE = 10.0, 0.3
HEAD = re.compile(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")
JUNK = st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=30)
PIECES = st.sampled_from(
    ["api", "pool", "login", "..", "%2e%2e", "%00", "", ".", "virtualservice", "tenant", "admin", "%ff", "*", "transaction",
     "a" * 300, "avish", "files", "captures", "..%2f..%2fetc%2fpasswd", "analytics", "metrics", "runtime"]
)  # fmt: skip
PATHS = st.lists(PIECES | JUNK, max_size=5).map(lambda parts: "/" + "/".join(parts))
QUERIES = st.sampled_from(
    ["", "?name=x", "?page=-1", "?page_size=zz", "?fields=" + "," * 500, "?name=%0d%0aX-Evil:%20y", "?a=%", "?&&&=&",
     "?refers_to=pool", "?name=x&name=y", "?include_name&skip_default=maybe", "?page=1" + "0" * 400]
)  # fmt: skip
VALUES = JUNK | st.sampled_from(
    ["a\r\nX-Evil: y", "x" * 9_000, "\x00", "99999999999999999999", "-1", "chunked, chunked"]
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["X-Avi-Tenant", "X-Avi-Version", "Content-Length", "Transfer-Encoding", "Cookie", "X-CSRFToken",
                         "Content-Type", "Host", "Slug", "Authorization", "Expect", "Upgrade", "Connection", "X Y"]) | JUNK,
        VALUES,
    ),
    max_size=6,
)  # fmt: skip
METHODS = (
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", ""]) | JUNK
)
BODIES = st.binary(max_size=200) | st.sampled_from(
    [b"{}", b"[]", b"null", b'{"name": 5}', b'{"requests": [[]]}', b'{"add": 1}', b"5\r\nabc", b"ffffffffff\r\n{}", b"\xff" * 50,
     b'{"name": "a", "servers": {"ip": []}}', b'{"username": [], "password": {}}', b'{"a":' * 3_000]
)  # fmt: skip


@pytest.fixture(scope="module")
def rig():
    with tempfile.TemporaryDirectory(prefix="avf") as folder:
        found = HttpsRig(Path(folder))
        yield found
        found.close()


def exchanged(port, data):
    """What comes back until the other side ends, or we have waited for more in vain."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    found = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as plain, trust.wrap_socket(plain) as wire:
        try:
            wire.sendall(data)
            wire.settimeout(SILENCE)
            while piece := wire.recv(65536):
                found += piece
        except (ssl.SSLError, ConnectionError, TimeoutError):
            pass  # it has hung up on us, or waits for more
    return found


def judged(answer):
    """Every answer in it, each checked; the statuses."""
    statuses, place = [], 0
    while place < len(answer):
        head = HEAD.match(answer, place)
        assert head, answer[place : place + 300]
        status = int(head[1])
        lengths = re.findall(rb"(?i)^content-length: (\d+)\r$", head[2], re.MULTILINE)
        assert b"X-Evil" not in head[2]
        body = answer[head.end() : head.end() + int(lengths[0])] if lengths else answer[head.end() :]
        assert status < 500, (status, body)
        if status >= 400 and body and b"CSRF" not in body:
            assert json.loads(body)["error"]
        statuses.append(status)
        place = head.end() + len(body)
    return statuses


@pytest.fixture(scope="module")
def cookie(rig):
    web = Web(rig.port)
    assert web.log_in()[0] == 200
    return web.headers


@given(METHODS, PATHS, QUERIES, HEADERS, BODIES, st.booleans(), st.booleans())
@settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
def test_invented_requests(rig, cookie, method, path, query, headers, body, known, framed):
    lines = [f"{method} {path}{query} HTTP/1.1", "Host: c", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines += [f"{name}: {value}" for name, value in cookie.items()] if known else []
    lines += [f"Content-Length: {len(body)}"] if framed else []
    data = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body
    judged(exchanged(rig.port, data))
    assert rig.get("/api/tenant")["count"] >= 1


@given(st.binary(max_size=400))
@settings(max_examples=40, deadline=None, database=None, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
def test_invented_bytes(rig, data):
    judged(exchanged(rig.port, data + b"\r\n\r\n"))
    with socket.create_connection(("127.0.0.1", rig.port), timeout=PATIENCE) as plain:
        plain.sendall(data)  # where a TLS handshake belongs


def test_after_all_that_it_is_well(rig):
    web = Web(rig.port)
    assert web.log_in()[0] == 200
    assert web.ask("POST", "/api/pool", {"name": f"after-{time.time_ns()}"})[0] == 201
    assert rig.get("/api/avish/check")["store"] == []

"""What strangers and clumsy clients get over the network."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import stat

import pytest

pytest.importorskip("cryptography")
from httpsrig import PASSWORD, HttpsRig, Web

from avish.controller import lockout


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = HttpsRig(tmp_path_factory.mktemp("https"))
    yield rig
    rig.close()


@pytest.fixture
def web(rig):
    web = Web(rig.port)
    yield web
    web.close()


@pytest.fixture
def logged_in(web):
    assert web.log_in()[0] == 200
    return web


SLOW = (
    b"POST /api/pool HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5000\r\nCookie: sessionid=old\r\n\r\n"
)


def raw(rig, data, *, tls=True):
    """What comes back to bytes of all kinds."""
    with socket.create_connection(("127.0.0.1", rig.port), timeout=10) as plain:
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        connection = trust.wrap_socket(plain) if tls else plain
        connection.sendall(data)
        found = b""
        while chunk := connection.recv(65536):
            found += chunk
        return found


def test_strangers_get_nothing_but_the_version(rig, web):
    for method, path in [
        ("GET", "/api/pool"),
        ("POST", "/api/pool"),
        ("GET", "/api/cluster/runtime"),
        ("GET", "/api/audit"),
    ]:
        status, _, body = web.ask(method, path)
        assert (status, "log in" in body["error"]) == (401, True)
    status, _, body = web.ask("GET", "/api//initial-data/")
    assert (status, bool(body["version"]["Version"])) == (200, True)


def test_login_with_json_and_the_cookies_it_gives(web):
    status, headers, body = web.ask("POST", "/login", {"username": "admin", "password": PASSWORD})
    assert (status, body["session_cookie_name"]) == (200, "sessionid")
    cookies = {line.split("=")[0]: line for line in headers.get_all("Set-Cookie")}
    assert set(cookies) == {"csrftoken", "sessionid", "avi-sessionid"}
    assert "HttpOnly" in cookies["sessionid"]
    assert all("Secure" in line for line in cookies.values())


@pytest.mark.parametrize(("user", "password"), [("admin", "wrong"), ("nobody", "x"), ("admin", ""), ("", "")])
def test_a_wrong_login_is_refused_in_one_way(web, user, password):
    status, body = web.log_in(user, password)
    assert (status, body["error"]) == (401, "Invalid credentials")


def test_a_write_needs_the_csrf_token(logged_in):
    for token in ("", "wrong"):
        status, headers, body = logged_in.ask("POST", "/api/pool", {"name": "x"}, {"X-CSRFToken": token})
        assert (status, body) == (401, "CSRF token missing or incorrect.")
        assert headers["Content-Type"].startswith("text/plain")
    assert logged_in.ask("GET", "/api/pool", headers={"X-CSRFToken": ""})[0] == 200


def test_of_several_cookies_with_one_name_the_last_counts(logged_in):
    good = logged_in.headers["Cookie"]
    assert logged_in.ask("GET", "/api/pool", headers={"Cookie": f"sessionid=old; avi-sessionid=old; {good}"})[0] == 200
    assert logged_in.ask("GET", "/api/pool", headers={"Cookie": f"{good}; sessionid=old; avi-sessionid=old"})[0] == 401


def test_after_the_logout_nothing_is_left(logged_in):
    assert logged_in.ask("POST", "/logout")[0] == 200
    assert logged_in.ask("GET", "/api/pool")[0] == 401


def test_each_answer_renews_the_session(logged_in):
    _, headers, _ = logged_in.ask("GET", "/api/pool")
    assert {line.split("=")[0] for line in headers.get_all("Set-Cookie")} == {"sessionid", "avi-sessionid"}


def test_versions(logged_in):
    assert logged_in.ask("GET", "/api/pool", headers={"X-Avi-Version": "22.1.3"})[0] == 200
    status, _, body = logged_in.ask("GET", "/api/pool", headers={"X-Avi-Version": "x"})
    assert (status, "Invalid version" in body["error"]) == (400, True)


def test_what_stands_in_the_host_header_does_not_come_back_as_it_is(rig, logged_in):
    _, _, body = logged_in.ask("GET", "/api/tenant", headers={"Host": 'evil"><script>'})
    assert body["results"][0]["url"].startswith("https://localhost/")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 90_000, 400),
        (b'"text"', 400),
        (b"[]", 400),
        (b"null", 400),
        (b"7", 400),
    ],
)
def test_bodies_of_wrong_shapes(logged_in, body, status):
    assert logged_in.ask("POST", "/api/pool", body)[0] == status
    assert logged_in.ask("PATCH", "/api/tenant/admin", body)[0] == status


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/api/../../etc/passwd",
        "/api/pool/%2e%2e/%2e%2e",
        "/api/pool/%00",
        "/api",
        "/",
        "/api/pool/x/y/z",
    ],
)
def test_paths_lead_nowhere(logged_in, path):
    status, _, body = logged_in.ask("GET", path)
    assert status in (400, 404), body
    assert body["error"]


@pytest.mark.parametrize(
    "data",
    [b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /api/pool HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
     b"POST /api/pool HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_http_is_told_in_json(rig, data):
    head, _, body = raw(rig, data).partition(b"\r\n\r\n")
    assert b" 400 " in head.splitlines()[0]
    assert json.loads(body)["error"]


def test_plain_text_at_the_tls_port_ends_at_once(rig, web):
    assert b"HTTP/1.1 200" not in raw(rig, b"GET /api/initial-data HTTP/1.1\r\nHost: a\r\n\r\n", tls=False)
    assert web.ask("GET", "/api/initial-data")[0] == 200


def test_old_tls_is_refused(rig):
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    trust.set_ciphers("ALL:@SECLEVEL=0")
    trust.minimum_version = ssl.TLSVersion.TLSv1
    trust.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", rig.port), timeout=10) as plain, pytest.raises(ssl.SSLError):
        trust.wrap_socket(plain)


def test_requests_one_behind_the_other_are_answered_in_order(rig):
    one = b"GET /api/initial-data HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"GET /api/pool HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    found = raw(rig, one + one + last)
    assert found.count(b"HTTP/1.1 200") == 2
    assert found.count(b"HTTP/1.1 401") == 1
    assert found.rindex(b"HTTP/1.1 401") > found.rindex(b"HTTP/1.1 200")


def test_the_key_is_for_its_owner_only(rig):
    for path in rig.home.keys.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_who_says_nothing_is_cut_off(rig, monkeypatch):
    monkeypatch.setattr("avish.server.http.SILENT_SECONDS", 0.2)
    assert raw(rig, b"GET /api/poo") == b""


def test_a_body_that_dawdles_is_not_waited_for(rig, monkeypatch):
    monkeypatch.setattr("avish.server.http.BODY_SECONDS", 0.2)
    monkeypatch.setattr("avish.server.http.LINGER_SECONDS", 0.2)
    head, _, body = raw(rig, SLOW + b"{").partition(b"\r\n\r\n")
    assert b" 408 " in head.splitlines()[0]
    assert "did not come within" in json.loads(body)["error"]


def test_a_body_too_large_is_refused(rig, monkeypatch):
    monkeypatch.setattr("avish.server.http.BODY_LIMIT", 1000)
    head, _, body = raw(rig, SLOW + b"x" * 5_000).partition(b"\r\n\r\n")
    assert b" 413 " in head.splitlines()[0]
    assert json.loads(body)["error"].startswith("the body is larger")


def test_nobody_learns_what_it_is_made_of(web):
    _, headers, _ = web.ask("GET", "/api/initial-data")
    assert headers["Server"] == "avish"


def test_a_file_is_not_uploaded(logged_in):
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    status, _, body = logged_in.ask("POST", "/api/fileservice/hsmpackages", b"--x\r\n\r\n--x--", kind)
    assert (status, "files are not uploaded" in body["error"]) == (415, True)


def test_too_many_failures_lock_the_user_and_say_so(rig, web):
    rig.post("useraccountprofile", name="strict", max_login_failure_count=3, account_lock_timeout=1)
    rig.post("user", name="anna", password="Anna-horse-1", user_profile_ref="strict", is_superuser=True)
    assert web.log_in("anna", "Anna-horse-1")[0] == 200
    for _ in range(3):
        assert web.log_in("anna", "wrong")[0] == 401
    status, body = web.log_in("anna", "Anna-horse-1")
    assert (status, "locked for" in body["error"]) == (401, True)
    assert web.log_in()[0] == 200
    assert rig.call("PUT", "/api/avish/account/anna", {"password": "Anna-horse-2"}).status == 200
    assert web.log_in("anna", "Anna-horse-2")[0] == 200


def follow(rig, cookie, path="/api/notices", **headers):
    """The first message of a WebSocket, or the status of the refusal; ``rig`` tells something meanwhile."""
    import asyncio

    import aiohttp

    async def run():
        address = f"wss://127.0.0.1:{rig.port}{path}"
        async with aiohttp.ClientSession() as session:
            try:
                async with session.ws_connect(address, ssl=False, headers={"Cookie": cookie, **headers}) as socket:
                    notices = rig.controller.notices
                    notices.tell(notices.make("something happened", "test"))
                    return await asyncio.wait_for(socket.receive_json(), 20)
            except aiohttp.WSServerHandshakeError as error:
                return error.status

    return asyncio.run(run())


def test_a_source_that_guesses_for_many_users_is_held_back(rig, monkeypatch):
    monkeypatch.setattr(lockout, "SOURCE_FAILURES", 3)
    guesser, known = Web(rig.port), Web(rig.port)
    assert known.log_in()[0] == 200
    for number in range(3):
        assert guesser.log_in(f"nobody{number}", "x")[0] == 401
    status, body = guesser.log_in()
    assert (status, "too many failures" in body["error"]) == (401, True)
    assert known.ask("GET", "/api/pool")[0] == 200
    assert rig.accounts.log_in("admin", PASSWORD, "9.9.9.9")["name"] == "admin"
    rig.accounts.lockout._forget(*list(rig.accounts.lockout._counts))
    guesser.close()
    known.close()


def test_events_come_over_a_websocket(rig, logged_in):
    assert follow(rig, logged_in.headers["Cookie"])["text"] == "something happened"
    assert follow(rig, "sessionid=wrong") == 401
    assert follow(rig, logged_in.headers["Cookie"], Origin="https://evil.example") == 403
    assert logged_in.ask("GET", "/api/pool")[0] == 200


def test_a_singleton_that_is_to_stay_as_it_is(logged_in):
    for body in (None, "false"):
        status, _, answer = logged_in.ask("PUT", "/api/systemconfiguration", body)
        assert (status, answer["uuid"]) == (200, "systemconfiguration")


def head(path, length, *lines, method="POST"):
    """A request without its body."""
    named = "".join(f"{line}\r\n" for line in (f"Content-Length: {length}", "Connection: close", *lines))
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{named}\r\n".encode()


@pytest.mark.parametrize("path", ["/login", "/api/pool"])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "nonsense"])
def test_packed_bodies_are_not_taken(rig, path, coding):
    packed = gzip.compress(b'{"username": "' + b"a" * 5_000_000 + b'"}')
    answer = raw(rig, head(path, len(packed), f"Content-Encoding: {coding}") + packed)
    assert answer.startswith(b"HTTP/1.1 415 ")
    assert b'{"error": "bodies are not taken in Content-Encoding' in answer


def test_a_stranger_may_not_send_much(rig):
    body = b'{"username": "' + b"a" * 20_000 + b'", "password": "x"}'
    assert raw(rig, head("/login", len(body)) + body).startswith(b"HTTP/1.1 413 ")
    assert raw(rig, head("/api/pool", 30_000_000)).startswith(b"HTTP/1.1 401 "), "the body is not waited for"


def test_who_asks_first_is_told_to_go_on(rig):
    body = b'{"username": "admin", "password": "wrong"}'
    answer = raw(rig, head("/login", len(body), "Expect: 100-continue") + body)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 ")
    assert b"Server: avish\r\n" in answer
    assert raw(rig, head("/login", len(body), "Expect: tea") + body).startswith(b"HTTP/1.1 417 ")

"""Who comes in over SSH: keys first, passwords behind them; the controller judges both."""

from __future__ import annotations

import asyncio
import collections
import json
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import asyncssh

from avish.api.http1 import Connection, ProtocolError

log = logging.getLogger(__name__)

SOCKET = "front.sock"
"""The controller's door for this process, in its working directory."""
TIMEOUT = 30.0
LIVE = {"banner", "message", "idle_seconds"}
"""Settings that hold as soon as they are saved."""
MODES = ("plain", "batch", "terminal")


@dataclass
class Settings:
    """What the controller tells this process. Times in seconds; ``host_keys`` in OpenSSH's form."""

    host_keys: list[str]
    host: str = ""
    banner: str = ""
    message: str = ""
    """Of the day: shown to people when they are in."""
    login_seconds: float = 30.0
    idle_seconds: float = 900.0
    tries: int = 6
    strangers: int = 60
    """Connections that may be there without having logged in; the oldest one goes for the next."""
    strangers_of_source: int = 20
    """Of them, those from one address."""
    version_seconds: float = 5.0
    """Until a program has said that it speaks SSH."""
    sessions: int = 400
    sessions_of_user: int = 250
    probe_seconds: float = 0.4
    strange: dict[int, Door] = field(default_factory=dict)
    """The strangers, in the order they came."""

    def renew(self, given: dict[str, Any]) -> None:
        """Take over what has changed; who is in already keeps his session."""
        for name in LIVE & set(given):
            setattr(self, name, given[name])


@dataclass
class Known:
    """A user that was let in: its session at the controller, and how he wants to work."""

    user: str
    session: str
    tenant: str
    mode: str = ""


def ask(method: str, path: str, body: Any = None, session: str = "", source: str = "") -> tuple[int, Any]:
    """(status, body) of the controller; (503, {"error"}) when it is away. Blocks."""
    headers = {"Content-Type": "application/json", "X-Avish-Source": source}
    if session:
        headers["Cookie"] = f"sessionid={session}"
    connection = Connection(_dial, TIMEOUT)
    try:
        data = None if body is None else json.dumps(body).encode()
        response = connection.request(method, path, headers, data)
        text = response.read()
        return response.status, json.loads(text) if text else None
    except (OSError, ProtocolError, ValueError) as error:
        return 503, {"error": f"the controller does not answer: {error}"}
    finally:
        connection.close()


def _dial(timeout: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(SOCKET)
    except OSError:
        connection.close()
        raise
    return connection


class Door(asyncssh.SSHServer):
    """One connection, from its beginning to the end of the login."""

    def __init__(self, settings: Settings, pool: ThreadPoolExecutor, sessions: Any) -> None:
        self._settings, self._pool, self._sessions = settings, pool, sessions
        self._tries = 0
        self._keys: dict[str, str] = {}
        self._connection: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self.source = "ssh"

    def connection_made(self, conn: Any) -> None:
        """A stranger; of too many the oldest are not let wait."""
        self._connection = conn
        self.source = f"ssh {(conn.get_extra_info('peername') or ('?',))[0]}"
        self._make_room()
        self._settings.strange[id(self)] = self
        self._timer = asyncio.get_running_loop().call_later(self._settings.version_seconds, self._hurry)

    @property
    def silent(self) -> bool:
        """Whether the other side has not even said that it speaks SSH."""
        return self._connection.get_extra_info("client_version") is None

    def _hurry(self) -> None:
        if self.silent:
            self._connection.abort()

    def _make_room(self) -> None:
        """For this one somebody else goes, where it is too crowded: those who flood the door lock nobody out."""
        there = list(self._settings.strange.values())
        crowd = [one for one in there if one.source == self.source]
        if len(crowd) < self._settings.strangers_of_source:
            if len(there) < self._settings.strangers:
                return
            loudest = collections.Counter(one.source for one in there).most_common(1)[0][0]
            crowd = [one for one in there if one.source == loudest]
        next((one for one in crowd if one.silent), crowd[0]).drop()

    def drop(self) -> None:
        """Hang up."""
        self._settings.strange.pop(id(self), None)
        self._connection.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over; so is the session at the controller."""
        del exc
        if self._timer is not None:
            self._timer.cancel()
        self._settings.strange.pop(id(self), None)
        known = self._connection.get_extra_info("known") if self._connection else None
        if known is not None:
            self._pool.submit(ask, "POST", "/logout", None, known.session, self.source)

    def begin_auth(self, username: str) -> bool:
        """Everybody has to prove who he is."""
        if self._settings.banner:
            self._connection.send_auth_banner(self._settings.banner.rstrip() + "\r\n")
        del username
        return True

    def auth_completed(self) -> None:
        """No stranger any more."""
        self._settings.strange.pop(id(self), None)

    def public_key_auth_supported(self) -> bool:
        """Yes."""
        return True

    async def validate_public_key(self, username: str, key: Any) -> bool:
        """Whether it is a key of his. That he has its other half is proved afterwards: then the session begins."""
        text = key.export_public_key().decode().strip()
        user, mode = _split(username)
        body = {"username": user, "ssh_key": " ".join(text.split()[:2])}
        status, answer = await self._ask({**body, "probe": True})
        if status != 200:
            return self._failed(answer, count=False)
        self._connection.set_extra_info(key=(body, mode))
        return True

    def password_auth_supported(self) -> bool:
        """Yes."""
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        """Whether it is his."""
        user, mode = _split(username)
        status, answer = await self._ask({"username": user, "password": password})
        if status != 200:
            return self._failed(answer)
        self._connection.set_extra_info(known=_known(answer, mode), key=None)
        return True

    async def _ask(self, body: dict[str, Any]) -> tuple[int, Any]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, ask, "POST", "/login", body, "", self.source)

    def _failed(self, answer: Any, *, count: bool = True) -> bool:
        self._tries += 1
        if self._tries >= self._settings.tries * (1 if count else 3):
            self._connection.disconnect(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "too many failures")
        log.info("login refused from %s: %s", self.source, (answer or {}).get("error"))
        return False


async def known_of(connection: Any, pool: ThreadPoolExecutor | None) -> Known | None:
    """The session of a connection that has logged in; begun now when a key was proved."""
    known: Known | None = connection.get_extra_info("known")
    if known is not None:
        return known
    body, mode = connection.get_extra_info("key") or (None, "")
    if body is None:
        return None
    source = f"ssh {(connection.get_extra_info('peername') or ('?',))[0]}"
    loop = asyncio.get_running_loop()
    status, answer = await loop.run_in_executor(pool, ask, "POST", "/login", body, "", source)
    if status != 200:
        return None
    known = connection.get_extra_info("known")  # another channel of the connection may have been faster
    if known is None:
        known = _known(answer, mode)
        connection.set_extra_info(known=known)
    return known


def _known(answer: Any, mode: str) -> Known:
    tenant = str(answer["user"]["default_tenant_ref"]).rpartition("#")[2]
    return Known(str(answer["user"]["name"]), str(answer["session_id"]), tenant or "admin", mode)


def _split(username: str) -> tuple[str, str]:
    """``admin+plain``: the user, and the mode of his session."""
    user, _, mode = username.rpartition("+")
    return (user, mode) if user and mode in MODES else (username, "")

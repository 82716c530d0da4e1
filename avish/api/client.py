"""The shell's way to the controller: HTTP on its Unix socket, or over the network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from avish.api.http1 import ClosedError, Connection, ProtocolError, Response
from avish.api.reach import LocalReach, Reach
from avish.errors import UnavailableError

TIMEOUT = 120.0
"""Seconds an answer may take: the longest commit, not the usual one."""


class Answer:
    """Status, JSON body, and the headers that matter: warnings, the revision the answer was read from, and whether a
    commit awaits its confirmation ("revision seconds user", or "").
    """

    __slots__ = ("body", "confirm", "etag", "status", "warnings")

    def __init__(self, response: Response, data: bytes) -> None:
        self.status = response.status
        self.body: Any = json.loads(data) if data else None
        self.warnings: tuple[str, ...] = tuple(json.loads(response.headers.get("x-avish-warnings") or "[]"))
        self.etag = response.headers.get("etag", "")
        self.confirm = response.headers.get("x-avish-confirm", "")


class Client:
    """One connection, kept open; not for two threads at a time. Raises UnavailableError when nobody answers."""

    def __init__(self, where: Path | Reach) -> None:
        """``where``: a home directory, or another way to a controller."""
        self.reach: Reach = LocalReach(where) if isinstance(where, Path) else where
        self.home = self.reach.home
        self._connection = Connection(self.reach.dial, TIMEOUT)

    def twin(self) -> Client:
        """Another connection for the same user to the same controller."""
        return Client(self.reach)

    def work_in(self, tenant: str) -> None:
        """From now on, all connections of this user work in that tenant."""
        self.reach.headers["X-Avi-Tenant"] = tenant

    def connect(self) -> None:
        """Find out whether a controller is there."""
        try:
            self._connection.connect()
        except OSError as error:
            raise self._away(error) from None

    def close(self) -> None:
        """Drop the connection; the next call opens another."""
        self._connection.close()

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        etag: str = "",
        comment: str = "",
    ) -> Answer:
        """One request. A read is tried a second time on a fresh connection; a write whose fate is unknown is not."""
        headers = {"If-None-Match": etag} if etag else {}
        answer = self._call(method, target(path, query), headers, body, comment)
        if answer.status == 401 and self.reach.renew():
            return self._call(method, target(path, query), headers, body, comment)
        return answer

    def _call(self, method: str, where: str, more: Mapping[str, str], body: Any, comment: str) -> Answer:
        headers = {**self.reach.headers, **more}
        if comment:
            headers["X-Avish-Comment"] = quote(comment)
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        for last in (False, True):
            try:
                fresh = not self._connection.open
                response = self._connection.request(method, where, headers, data)
                return Answer(response, response.read())
            except (ClosedError, BrokenPipeError, ConnectionResetError) as error:
                self._connection.close()
                if last or fresh or method != "GET":
                    raise self._lost(method, error) from None
            except (OSError, ProtocolError, ValueError) as error:
                self._connection.close()
                raise self._away(error) from None
        raise AssertionError("unreachable")

    def stream(self, path: str) -> Iterator[dict[str, Any]]:
        """The events of a path, one JSON object a line, on a connection of its own until it ends."""
        connection = Connection(self.reach.dial, TIMEOUT)
        try:
            response = connection.request("GET", path, self.reach.headers)
            if response.status >= 400:
                raise UnavailableError(str(json.loads(response.read() or b"{}").get("error", response.status)))
            for line in response.lines():
                if line.strip():
                    yield json.loads(line)
        except (OSError, ProtocolError, ValueError) as error:
            raise self._away(error) from None
        finally:
            connection.close()

    def _away(self, error: Exception) -> UnavailableError:
        return self.reach.away(error, TIMEOUT)

    def _lost(self, method: str, error: Exception) -> UnavailableError:
        if method == "GET":
            return self._away(error)
        return UnavailableError(
            "the connection to the controller broke during a change; show the object to see whether it was made"
        )


def target(path: str, query: Mapping[str, str] | None) -> str:
    """Path and query as they stand in a request line."""
    if not query:
        return quote(path, safe="/:@+._-")
    pairs = "&".join(
        f"{quote(name)}={quote(value, safe='')}" if value else quote(name) for name, value in query.items()
    )
    return f"{quote(path, safe='/:@+._-')}?{pairs}"

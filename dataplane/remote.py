"""The Driver over the Unix socket of an agent."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dataplane import wire
from dataplane.diff import Plan
from dataplane.errors import UnreachableError
from dataplane.lifesign import Lifesign
from dataplane.model import EVERY_FLOW, FLOW_KEYS, FlowMatch, Interface, Row, SeState
from dataplane.records import unpack
from dataplane.taps import Batch, CaptureSpec

CALL_SECONDS = 10.0
CHANGE_SECONDS = 150.0
"""A first sync of 10,000 services takes the kernel some seconds; nft itself is given up after two minutes."""

DRILL_SECONDS = 20.0
HELLO_SECONDS = 60.0
"""An agent that is at work may be too busy to say so; one that is not is given up much earlier."""
CAPTURE_SECONDS = 5.0
"""Without a word from a capture; an agent that is well says something every second."""

IDLE_CONNECTIONS = 4


class RemoteDriver:
    """See ``dataplane.driver.Driver``; from any thread.

    Every call has a connection to itself while it lasts (idle ones are kept), so a slow read never holds up a commit.
    A connection that an agent's restart has made stale is replaced once, unseen: asked twice, an agent answers a read
    alike and refuses a change as out of sync. ``call_seconds`` bounds the wait for an answer.
    """

    def __init__(self, path: Path | str, call_seconds: float = CALL_SECONDS) -> None:
        self._path = str(path)
        self._seconds = call_seconds
        self._idle: list[socket.socket] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the idle connections; the driver can still be used."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def hello(self) -> Row:
        """Keys: version (of the protocol: ``wire.VERSION``), pid, namespace, revision (None before the first sync)."""
        return dict(self._call("hello", seconds=HELLO_SECONDS))

    def stop(self) -> None:
        """Make the agent end; the kernel keeps what it holds."""
        self._call("stop")
        self.close()

    def leave(self) -> None:
        """Make the agent take away all that is ours and put the kernel's settings back."""
        self._call("leave", seconds=CHANGE_SECONDS)

    def interfaces(self) -> list[Interface]:
        return list(self._call("interfaces"))

    def sync(self, state: SeState, revision: int) -> list[str]:
        return list(self._call("sync", state, revision, seconds=CHANGE_SECONDS))

    def check(self, plan: Plan) -> None:
        self._call("check", plan, seconds=CHANGE_SECONDS)

    def apply(self, plan: Plan, base: int, revision: int) -> None:
        self._call("apply", plan, base, revision, seconds=CHANGE_SECONDS)

    def drift(self) -> list[str]:
        return list(self._call("drift", seconds=CHANGE_SECONDS))

    def flows(self, mark: int, mask: int, match: FlowMatch = EVERY_FLOW) -> Iterator[Row]:
        for part in self._parts("flows", mark, mask, match):
            yield from self._flow_rows(part)

    def _flow_rows(self, part: list[Any]) -> list[Row]:
        try:
            return [dict(zip(FLOW_KEYS, values, strict=True)) for values in part]
        except (TypeError, ValueError) as error:
            raise UnreachableError(f"the agent at {self._path} cannot be understood: {error}") from error

    def facts(self, kind: str) -> Any:
        return self._call("facts", kind, seconds=CHANGE_SECONDS)

    def forget_flows(self, mark: int, mask: int) -> int:
        return int(self._call("forget_flows", mark, mask, seconds=CHANGE_SECONDS))

    def forget_neighbours(self) -> int:
        return int(self._call("forget_neighbours", seconds=CHANGE_SECONDS))

    def forget_bound(self, mark: int, servers: tuple[str, ...]) -> int:
        return int(self._call("forget_bound", mark, servers, seconds=CHANGE_SECONDS))

    def probe(self, kind: str, address: str, port: int = 0) -> Iterator[str]:
        for part in self._parts("probe", kind, address, port):
            yield from part

    def _parts(self, operation: str, *arguments: Any) -> Iterator[list[Any]]:
        """The parts of a streamed answer, as JSON has them."""
        connection, answer = self._ask(operation, arguments, self._seconds)
        finished = False
        try:
            while "part" in answer:
                yield answer["part"]
                answer = self._receive(connection)
            finished = True
            wire.raise_error(answer)
        finally:
            self._give_back(connection, usable=finished)

    def counters(self, names: tuple[str, ...] = ()) -> dict[str, tuple[int, int]]:
        return dict(self._call("counters", names))

    def listeners(self) -> list[Row]:
        return list(self._call("listeners"))

    def routes(self) -> list[Row]:
        return list(self._call("routes"))

    def neighbours(self) -> list[Row]:
        return list(self._call("neighbours"))

    def addresses(self) -> list[Row]:
        return list(self._call("addresses"))

    def forwarding(self) -> bool:
        return bool(self._call("forwarding"))

    def health(self, pool: str) -> list[Row]:
        return list(self._call("health", pool))

    def pool_health(self) -> list[Row]:
        return list(self._call("pool_health"))

    def eased(self) -> list[Row]:
        return list(self._call("eased"))

    def repairs(self) -> list[Row]:
        return list(self._call("repairs"))

    def roles(self) -> list[Row]:
        return list(self._call("roles"))

    def step_down(self, pair: int) -> None:
        self._call("step_down", pair)

    def drill(self, pair: int) -> Row:
        return dict(self._call("drill", pair, seconds=DRILL_SECONDS))

    def crash(self, pair: int) -> None:
        self._call("crash", pair)

    def capture(self, spec: CaptureSpec) -> RemoteCapture:
        """The tap is in place when this returns."""
        connection, answer = self._ask("capture", (spec,), self._seconds)
        try:
            wire.raise_error(answer)
        except BaseException:
            connection.close()
            raise
        return RemoteCapture(connection, self._path)

    def _call(self, operation: str, *arguments: Any, seconds: float | None = None) -> Any:
        connection, answer = self._ask(operation, arguments, seconds or self._seconds)
        self._give_back(connection, usable=True)
        wire.raise_error(answer)
        return _decoded(answer.get("ok"), self._path)

    def _ask(self, operation: str, arguments: tuple[Any, ...], seconds: float) -> tuple[socket.socket, dict[str, Any]]:
        """Send a request; gives the connection and the first frame of the answer. Raises UnreachableError."""
        request = {"op": operation, "args": wire.encode(arguments)}
        kept = self._take()
        if kept is not None:
            try:
                return kept, self._exchange(kept, request, seconds)
            except _StaleError:
                self.close()  # of the agent that is gone, like the others
        fresh = self._connect()
        try:
            return fresh, self._exchange(fresh, request, seconds)
        except _StaleError as error:
            raise UnreachableError(f"the agent at {self._path} went away: {error}") from error

    def _exchange(self, connection: socket.socket, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Raises _StaleError, or UnreachableError when the agent is there but does not answer in time."""
        try:
            connection.settimeout(self._seconds)
            wire.send(connection, request)
            self._wait(connection, request["op"], seconds)
            answer = wire.receive(connection)
        except TimeoutError as error:
            connection.close()
            raise UnreachableError(f"the agent at {self._path} did not answer within {seconds:g} s") from error
        except UnreachableError:
            connection.close()
            raise
        except (OSError, wire.FrameError) as error:
            connection.close()
            raise _StaleError(str(error)) from error
        if answer is None:
            connection.close()
            raise _StaleError("connection closed")
        return answer

    def _wait(self, connection: socket.socket, asked: str, seconds: float) -> None:
        """Until the answer begins. TimeoutError after ``seconds``, UnreachableError as soon as the agent is frozen.

        An agent that is seen to be at work is waited for. One that waits itself (for nft) still says hello; when that
        was the question, the agent is frozen.
        """
        end, half = time.monotonic() + seconds, self._seconds / 2
        begun = select.poll()
        begun.register(connection, select.POLLIN)
        if begun.poll(1000 * min(half, seconds)):  # by far the most: then nobody looks at the process
            return
        sign = Lifesign(connection)
        while not begun.poll(1000 * min(half, max(end - time.monotonic(), 0))):
            if time.monotonic() >= end:
                raise TimeoutError
            if sign.at_work():
                continue
            if asked == "hello":
                raise UnreachableError(f"the agent at {self._path} did not answer within {self._seconds:g} s")
            self.hello()

    def _receive(self, connection: socket.socket) -> dict[str, Any]:
        """The next frame of a stream. Raises UnreachableError."""
        try:
            answer = wire.receive(connection)
        except (OSError, wire.FrameError) as error:
            raise UnreachableError(f"the agent at {self._path} went silent: {error}") from error
        if answer is None:
            raise UnreachableError(f"the agent at {self._path} went away")
        return answer

    def _take(self) -> socket.socket | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: socket.socket, *, usable: bool) -> None:
        with self._lock:
            if usable and len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._seconds)
        try:
            connection.connect(self._path)
        except OSError as error:
            connection.close()
            raise UnreachableError(f"no agent answers at {self._path}: {error.strerror or error}") from error
        return connection


def _decoded(data: Any, path: str) -> Any:
    """The value in an answer. Raises UnreachableError: an agent that cannot be understood does not answer."""
    try:
        return wire.decode(data)
    except wire.FrameError as error:
        raise UnreachableError(f"the agent at {path} cannot be understood: {error}") from error


class _StaleError(Exception):
    """The connection broke before an answer began."""


class RemoteCapture:
    """See ``dataplane.driver.Capture``. Ends with UnreachableError when the agent goes away or is silent for long."""

    def __init__(self, connection: socket.socket, path: str) -> None:
        self.lost = 0
        self._connection = connection
        self._path = path
        self._lock = threading.Lock()
        self._iterated = False
        self._closed = False

    def __iter__(self) -> Iterator[Batch | None]:
        with self._lock:
            self._iterated = True
        self._connection.settimeout(CAPTURE_SECONDS)
        try:
            yield from self._packets()
        finally:
            self._connection.close()

    def _packets(self) -> Iterator[Batch | None]:
        while True:
            answer = self._next()
            wire.raise_error(answer)
            if "part" not in answer:
                self.lost = int(answer["ok"]["lost"])
                return
            payload = self._payload(answer)
            self.lost = int(answer["lost"])
            yield unpack(answer["part"], payload) if answer["part"] else None

    def _payload(self, answer: dict[str, Any]) -> bytes:
        try:
            return wire.receive_payload(self._connection, answer)
        except (OSError, wire.FrameError) as error:
            raise UnreachableError(f"the capture broke off: {error}") from error

    def _next(self) -> dict[str, Any]:
        try:
            answer = wire.receive(self._connection)
        except TimeoutError as error:
            raise UnreachableError(f"the agent at {self._path} said nothing for {CAPTURE_SECONDS:g} s") from error
        except (OSError, wire.FrameError) as error:
            raise UnreachableError(f"the capture broke off: {error}") from error
        if answer is None:
            raise UnreachableError(f"the agent at {self._path} went away")
        return answer

    def close(self) -> None:
        """Ask the agent to end the tap; what was tapped until then still comes. A second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if not self._iterated:
                self._connection.close()
                return
        try:
            wire.send(self._connection, {"op": "close"})
        except OSError:  # the iteration sees the same and says so
            return

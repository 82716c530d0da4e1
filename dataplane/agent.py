"""The process inside an engine's namespace: serves the Driver of its kernel to the controller over a Unix socket.

``python -m dataplane.agent --namespace NAME --socket PATH``. It outlives the controller, keeps nothing on disk but the
kernel settings that the first of them found (beside the socket), and may be killed at any time: the kernel goes on
forwarding, and the next agent is told by ``sync`` what to compare with.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from dataplane import capture, leastconn, sysctl, tap, wire
from dataplane.diff import Plan, applied
from dataplane.errors import DataplaneError, RefusedError
from dataplane.failover import Failover
from dataplane.health import Monitor
from dataplane.inline import Inline
from dataplane.local import LocalDriver
from dataplane.model import Row, SeState
from dataplane.watch import Watch

_LOG = logging.getLogger("dataplane.agent")
_NAMESPACES = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_ROWS_PER_PART = 500
_BACKLOG = 64
_PAUSE_MS = 500
_END_SECONDS = 5.0
"""A tap that is told to end takes its rules away; that is done by then."""

HEALTH_SECONDS = 1.0
"""So long who asks for the health of servers waits for the first test of new ones."""
FIRST_TEST_SECONDS = 0.5

_PLAIN = (
    "interfaces", "check", "drift", "counters", "listeners", "routes", "neighbours", "addresses",
    "forwarding", "facts", "forget_flows", "forget_neighbours", "forget_bound",
)  # fmt: skip
"""The operations that are one call of the driver and one answer."""
_ROWS = ("counters", "listeners", "routes", "neighbours", "addresses")
"""Those of them whose answers are JSON data already."""


def enter(namespace: str) -> None:
    """Move this thread, and those it starts, into a network namespace; "" and "host": stay. Raises OSError."""
    if namespace in ("", "host"):
        return
    with (_NAMESPACES / namespace).open("rb") as handle:
        library = ctypes.CDLL(None, use_errno=True)
        if library.setns(handle.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), namespace)


@dataclass(frozen=True, slots=True)
class Parts:
    """What an agent does by itself, whether it is asked or not."""

    health: Monitor
    failover: Failover
    watch: Watch
    inline: Inline


class Agent:
    """Serves a driver: one thread per connection."""

    def __init__(self, driver: LocalDriver, namespace: str, before: Path, parts: Parts) -> None:
        self._driver = driver
        self._health, self._failover = parts.health, parts.failover
        self._before = before
        self._namespace = namespace
        self._own: dict[str, Callable[..., Any]] = {
            "hello": self._hello,
            "leave": self._leave,
            "sync": self._sync,
            "apply": self._apply,
            "health": self._servers,
            "pool_health": self._pools,
            "roles": self._failover.roles,
            "step_down": self._failover.step_down,
            "drill": self._failover.drill,
            "crash": self._failover.crash,
            "repairs": parts.watch.repairs,
            "eased": parts.inline.rows,
        }
        self._captures: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def serve(self, listener: socket.socket) -> None:
        """Accept connections until ``stop``."""
        while not self._stopping:
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if not self._stopping:
                    _LOG.warning("a connection cannot be taken: %s", error)
                    _pause(listener)
                continue
            threading.Thread(target=self._connection, args=(connection, listener), daemon=True).start()
        self._close_captures()

    def stop(self, listener: socket.socket) -> None:
        """Make ``serve`` return; from any thread and from a signal handler."""
        self._stopping = True
        with suppress(OSError):  # shut down already
            listener.shutdown(socket.SHUT_RDWR)

    def _connection(self, connection: socket.socket, listener: socket.socket) -> None:
        """Answer requests until the other side goes or sends what is no frame."""
        with connection:
            try:
                while (request := wire.receive(connection)) is not None:
                    self._answer(connection, request, listener)
            except wire.FrameError as error:
                _LOG.warning("connection dropped: %s", error)
                with suppress(OSError):
                    wire.send(connection, wire.error_document(RefusedError(f"bad request: {error}")))
            except OSError as error:
                _LOG.info("connection lost: %s", error)

    def _answer(self, connection: socket.socket, request: dict[str, Any], listener: socket.socket) -> None:
        operation = request.get("op")
        if operation == "capture":
            self._capture(connection, request)
            return
        if operation == "stop":
            wire.send(connection, {"ok": None})
            _LOG.info("stopped on request")
            self.stop(listener)
            return
        try:
            result = self._call(connection, operation, wire.decode(request.get("args", [])))
            answer = {"ok": result if operation in _ROWS else wire.encode(result)}
        except DataplaneError as error:
            answer = wire.error_document(error)
        except wire.FrameError as error:
            answer = wire.error_document(RefusedError(f"bad request: {error}"))
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001  (a bug must not take the agent down)
            _LOG.exception("%s failed", operation)
            answer = wire.error_document(error)
        wire.send(connection, answer)

    def _call(self, connection: socket.socket, operation: Any, arguments: tuple[Any, ...]) -> Any:
        if operation in self._own:
            return self._own[operation](*arguments)
        if operation == "flows":
            return _stream(connection, (list(row.values()) for row in self._driver.flows(*arguments)))
        if operation == "probe":
            return _stream(connection, self._driver.probe(*arguments), 1)
        if operation in _PLAIN:
            method: Callable[..., Any] = getattr(self._driver, operation)
            return method(*arguments)
        raise RefusedError(f"the agent knows no operation {operation!r}")

    def _leave(self) -> None:
        self._driver.leave(json.loads(self._before.read_text()))
        self._health.follow(SeState())
        self._failover.leave()
        self._before.unlink()

    def _sync(self, state: SeState, revision: int) -> list[str]:
        """Before a sync the health of servers is known as far as an agent before knew it, and addresses are gated."""
        self._health.follow(state)
        self._failover.guard(state)
        try:
            return self._driver.sync(state, revision)
        finally:
            self._failover.follow(state)

    def _apply(self, plan: Plan, base: int, revision: int) -> None:
        """A plan that brings new servers waits a little for their first test, so that a pool is up when it is saved."""
        paired = any(step.table == "pairs" for step in plan)
        moved = [step for step in plan if step.table == "addresses"]
        if paired:
            old, target = self._driver.held, applied(self._driver.held, plan)
            self._failover.guard(target, old.addresses.values())
        else:
            self._failover.change([step.new for step in moved if step.op == "put"], [])
        try:
            self._driver.apply(plan, base, revision)
        finally:
            if paired:
                self._failover.guard(self._driver.held)
                self._failover.follow(self._driver.held, wait=True)
            elif moved:
                self._failover.change(
                    [], [step.old for step in moved if step.old and step.key not in self._driver.held.addresses]
                )
                self._failover.follow(self._driver.held)
        if any(step.table in ("pools", "probes") for step in plan):
            self._health.follow(self._driver.held)
            self._health.settle(FIRST_TEST_SECONDS)

    def _pools(self) -> list[Row]:
        self._health.settle(HEALTH_SECONDS)
        return self._health.pool_health()

    def _servers(self, pool: str) -> list[Row]:
        self._health.settle(HEALTH_SECONDS)
        return self._health.health(pool)

    def _hello(self) -> Row:
        return {
            "version": wire.VERSION,
            "pid": os.getpid(),
            "namespace": self._namespace,
            "revision": self._driver.revision,
        }

    def _capture(self, connection: socket.socket, request: dict[str, Any]) -> None:
        """Give the connection to a process that taps; when that has ended there is nothing left to say."""
        try:
            (spec,) = wire.decode(request.get("args", []))
            child = tap.start(connection, spec)
        except (ValueError, DataplaneError) as error:
            wire.send(connection, wire.error_document(RefusedError(f"bad request: {error}")))
            return
        with self._lock:
            self._captures.add(child)
        status = child.wait()
        if status:
            _after_capture(status, connection)
        with suppress(OSError):  # the other side has gone
            connection.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._captures.discard(child)

    def _close_captures(self) -> None:
        with self._lock:
            children = list(self._captures)
        for child in children:
            child.terminate()
        for child in children:
            child.wait(_END_SECONDS)


def _after_capture(status: int, connection: socket.socket) -> None:
    """Take the rules away that a capture process left, and say why it sends no more when it could not itself."""
    try:
        capture.clean_stale()
    except (DataplaneError, OSError) as error:
        _LOG.warning("the rules of a capture that died cannot be removed: %s", error)
    if status < 0:
        with suppress(OSError):  # the other side has gone
            killed = f"the capture process on the engine was killed by signal {-status}"
            wire.send(connection, wire.error_document(RefusedError(killed)))


def _pause(listener: socket.socket) -> None:
    """Until there may be descriptors again, or at once when the listener is shut down."""
    poll = select.poll()
    poll.register(listener, 0)
    poll.poll(_PAUSE_MS)


def _stream(connection: socket.socket, items: Iterator[Any], together: int = _ROWS_PER_PART) -> None:
    """Send what is JSON already, so many at a time."""
    while part := list(islice(items, together)):
        wire.send(connection, {"part": part})


def listen(path: Path) -> socket.socket:
    """A listening socket at ``path``, for root only. Raises RefusedError when an agent answers there already."""
    if _answers(path):
        raise RefusedError(f"{path}: another agent serves this socket")
    return wire.listening(path, _BACKLOG)


def remember(path: Path) -> Path:
    """Keep the kernel settings as they are now in ``path``, unless an agent before did. Raises OSError."""
    if not path.exists():
        part = path.with_suffix(".part")
        part.write_text(json.dumps(sysctl.settings()))
        part.replace(path)
    return path


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def main() -> int:
    """Run the agent until it is told to stop; 1 with one line on standard error when it cannot begin."""
    arguments = _arguments()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    try:
        enter(arguments.namespace)
        before = remember(arguments.socket.with_suffix(".before"))
        driver = LocalDriver(arguments.socket.with_suffix(".tables"))
        listener = listen(arguments.socket)
        driver.watch()
    except (DataplaneError, OSError) as error:
        _LOG.error("cannot start: %s", error)
        return 1
    health = Monitor(driver.use, arguments.socket.with_suffix(".health"))
    failover = Failover(arguments.socket, lambda here: health.active(here=here))
    watch = Watch(driver, lambda: failover.restore(driver.held))
    if not arguments.unwatched:
        watch.start()
    inline = Inline(driver, health)
    driver.tell_refused(inline.refused)
    inline.start()
    agent = Agent(driver, arguments.namespace or "host", before, Parts(health, failover, watch, inline))
    threading.Thread(target=_balance, args=(driver,), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: agent.stop(listener))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's: an agent outlives the controller
    _LOG.info("serving namespace %s on %s", arguments.namespace or "host", arguments.socket)
    with listener:
        agent.serve(listener)
    with suppress(OSError):
        arguments.socket.unlink()
    return 0


def _balance(driver: LocalDriver) -> None:
    """Weigh what balances by least connections, again and again; a round that fails is told, the next one tries."""
    while True:
        time.sleep(leastconn.SECONDS)
        try:
            driver.balance()
        except Exception:  # noqa: BLE001  (the thread has to live on; the next round tries again)
            _LOG.exception("the servers could not be weighed by their connections")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dataplane.agent", description="Kernel side of a service engine")
    parser.add_argument("--namespace", default="", help="network namespace to enter; empty or 'host': stay")
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket to serve")
    parser.add_argument("--unwatched", action="store_true", help="mend what others change only when asked")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

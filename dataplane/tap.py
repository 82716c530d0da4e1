"""The process of one capture: reads the kernel and sends what it taps, so that the agent never waits for packets.

Started by the agent in its namespace with the controller's connection: ``python -m dataplane.tap FD``, the spec on
standard input. It ends when the other side of the connection says a word or goes, and on SIGTERM; whatever ends it but
SIGKILL, the rules go first. It outlives an agent that dies: a capture has nothing to do with it but its start.
"""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import sys
import threading
from typing import IO

from dataplane import wire
from dataplane.capture import KernelCapture
from dataplane.driver import Capture
from dataplane.errors import DataplaneError, RefusedError
from dataplane.records import Packer
from dataplane.taps import CaptureSpec

_LOG = logging.getLogger("dataplane.tap")


def start(connection: socket.socket, spec: CaptureSpec) -> subprocess.Popen[bytes]:
    """A process that serves ``connection`` from now on. Raises RefusedError."""
    handle = connection.fileno()
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", "dataplane.tap", str(handle)], stdin=subprocess.PIPE, pass_fds=(handle,)
        )
        if child.stdin is not None:
            child.stdin.write(json.dumps(wire.encode(spec)).encode())
            child.stdin.close()
    except OSError as error:
        raise RefusedError(f"the process of a capture cannot be started: {error.strerror}") from error
    return child


def serve(connection: socket.socket, spec: CaptureSpec) -> int:
    """Tap until it is enough; the exit status."""
    try:
        tap = KernelCapture(spec)
    except DataplaneError as error:
        wire.send(connection, wire.error_document(error))
        return 1
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=close, args=(tap,)).start())
    try:
        wire.send(connection, {"part": "", "lost": 0})
        threading.Thread(target=_close_on_request, args=(connection, tap), daemon=True).start()
        _send_all(connection, tap)
        return 0
    except DataplaneError as error:
        wire.send(connection, wire.error_document(error))
        return 1
    except OSError as error:
        _LOG.info("capture ended: %s", error)
        return 0
    finally:
        close(tap)


def close(tap: Capture) -> None:
    """Close a tap; what goes wrong is logged."""
    try:
        tap.close()
    except (DataplaneError, OSError) as error:
        _LOG.warning("a capture did not end as it should: %s", error)


def _send_all(connection: socket.socket, tap: Capture) -> None:
    packer = Packer()
    for batch in tap:
        if batch is None:
            wire.send(connection, {"part": "", "lost": tap.lost})
        else:
            document, payload = packer.pack(batch)
            wire.send(connection, {"part": document, "lost": tap.lost}, payload)
    wire.send(connection, {"ok": {"lost": tap.lost}})


def _close_on_request(connection: socket.socket, tap: Capture) -> None:
    """Any word, and silence for good, end the tap."""
    try:
        wire.receive(connection)
    except (OSError, wire.FrameError) as error:
        _LOG.info("capture ended: %s", error)
    close(tap)


def _spec(source: IO[str]) -> CaptureSpec:
    spec = wire.decode(json.load(source))
    if not isinstance(spec, CaptureSpec):
        raise wire.FrameError("no description of a capture")
    return spec


def main() -> int:
    """Run until the capture ends."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's: a capture outlives the shell
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        return serve(connection, _spec(sys.stdin))


if __name__ == "__main__":
    sys.exit(main())

"""Packets of a tap in batches that neither wait for company nor travel alone when there is a crowd."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from queue import Empty, Queue

from dataplane.driver import Capture
from dataplane.errors import DataplaneError
from dataplane.model import Packet

_LOG = logging.getLogger(__name__)
_BATCH = 64
_WAITING = 4096


class _End:
    """The tap has ended, in an error or not."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


_Queue = Queue[Packet | None | _End]


def batches(tap: Capture) -> Iterator[list[Packet]]:
    """What the tap gives, as soon as it gives it; an empty batch is a sign of life. Raises what the tap raises.

    When nobody takes the batches the tap stops reading and the kernel counts the loss.
    """
    queue: _Queue = Queue(_WAITING)
    threading.Thread(target=_pump, args=(tap, queue), daemon=True).start()
    end: _End | None = None
    try:
        while end is None:
            batch, end = _batch(queue)
            yield batch
        if end.error is not None:
            raise end.error
    finally:
        if end is None:  # nobody reads on: let the pump finish
            close(tap)
            while not isinstance(queue.get(), _End):
                pass


def close(tap: Capture) -> None:
    """Close a tap; what goes wrong is logged."""
    try:
        tap.close()
    except DataplaneError as error:
        _LOG.warning("a capture did not end as it should: %s", error)


def _pump(tap: Capture, queue: _Queue) -> None:
    try:
        for packet in tap:
            queue.put(packet)
        queue.put(_End())
    except Exception as error:  # noqa: BLE001  (it is raised where the batches are read)
        queue.put(_End(error))


def _batch(queue: _Queue) -> tuple[list[Packet], _End | None]:
    """Wait for one, take what else is there."""
    batch: list[Packet] = []
    entry = queue.get()
    while True:
        if isinstance(entry, _End):
            return batch, entry
        if entry is not None:
            batch.append(entry)
        if entry is None or len(batch) == _BATCH:
            return batch, None
        try:
            entry = queue.get_nowait()
        except Empty:
            return batch, None

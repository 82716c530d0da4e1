"""What an engine's namespace holds besides ours, read anew only when others have changed it."""

from __future__ import annotations

import errno
import struct
from contextlib import suppress

from dataplane import links, rtnetlink
from dataplane.netlink import Netlink
from dataplane.refusals import Surroundings


class Around:
    """Of the namespace that the thread of the first question is in; one thread at a time.

    Among 10,000 addresses of ours to look for the engine's own would take longer than a change.
    """

    def __init__(self) -> None:
        self._changes: Netlink | None = None
        self._known: Surroundings | None = None

    def now(self) -> Surroundings:
        """As it is at this moment. Raises ``links.ERRORS``."""
        if self._changes is None:
            self._changes = rtnetlink.listener(timeout=0)
        if self._others_changed(self._changes) or self._known is None:
            self._known = None
            self._known = _read()
        return self._known

    def _others_changed(self, changes: Netlink) -> bool:
        changed = False
        with suppress(BlockingIOError):
            while True:
                try:
                    changed = any(not rtnetlink.is_about_ours(message) for message in changes.receive()) or changed
                except (OSError, struct.error) as error:
                    if isinstance(error, OSError) and error.errno != errno.ENOBUFS:
                        raise
                    changed = True
        return changed


def _read() -> Surroundings:
    foreign = (row["prefix"] for row in links.route_rows() if row["protocol"] != "avish" and not row["metric"])
    return Surroundings(links.interfaces(ours=False), frozenset(), frozenset(foreign))

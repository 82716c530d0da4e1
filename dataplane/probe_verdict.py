"""How a test of a server fails, and whether an answer says what it should."""

from __future__ import annotations

from dataplane.health_model import Probe


class Failed(Exception):  # noqa: N818  (a result of a test, not an error of ours)
    """The server did not pass; ``code`` as the original names it."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Maintenance(Failed):
    """The server says that it wants no new clients."""


def failed(code: str, reason: str) -> Failed:
    """A failure to be raised."""
    return Failed(code, reason)


def searched(probe: Probe, data: bytes) -> bool:
    """Whether the answer so far holds what is asked for. Raises Maintenance."""
    if probe.maintenance and probe.maintenance.encode() in data:
        raise Maintenance("MAINTENANCE_RESPONSE", f"maintenance: the server answers {probe.maintenance!r}")
    return probe.response.encode() in data

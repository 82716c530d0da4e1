"""Foreign errors, translated once by the drivers."""

from __future__ import annotations


class DataplaneError(Exception):
    """The base."""


class RefusedError(DataplaneError):
    """The kernel (or a tool in front of it) refused a change; nothing of it is in place."""


class UnreachableError(DataplaneError):
    """The agent of an engine does not answer, or failed: what its kernel holds is not known until the next sync."""


class LabError(DataplaneError):
    """A topology that cannot be built: file, path and reason."""

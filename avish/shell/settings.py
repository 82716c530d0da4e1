"""What ``terminal`` sets: how this shell reads and shows, for as long as it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mode = Literal["interactive", "script", "linux_command_line"]


@dataclass(slots=True)
class Settings:
    """``mode``: objects as tables, as YAML, or as ``--path value``."""

    mode: Mode = "interactive"
    brief: bool = False
    """Tables leave out what is at its default."""
    quiet: bool = False
    """No tables after configure and save (``--min-output``)."""
    length: int | None = None
    """Lines of a page; 0: no paging, None: as many as the terminal has."""
    session_timeout: int = 15
    """Minutes without input until the shell ends; 0: never."""
    timezone: str = "UTC"
    api_details: bool = False
    """Tell the REST calls."""
    multi_line: bool = False
    """``--path value``: one a line."""

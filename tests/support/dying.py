"""avishd serve that kills itself (SIGKILL) behind a step of the commit that runs while the file ``armed`` is there.

dying.py HOME STEP
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from pathlib import Path

from avish.config.store import SqliteStore
from avish.controller.commit import Committer
from avish.server.main import main
from dataplane.remote import RemoteDriver

STEPS = {
    "prepare": (Committer, "_prepare"),
    "check": (Committer, "_check"),
    "journal": (SqliteStore, "journal"),
    "one engine": (RemoteDriver, "apply"),
    "apply": (Committer, "_apply"),
    "head": (SqliteStore, "commit"),
    "move": (Committer, "_move"),
}
KEPT = ("head", "move")
"""From here on the change has happened."""


def arm(home: Path, step: str) -> None:
    """Let the step be the last thing that this process does."""
    owner, name = STEPS[step]
    real = getattr(owner, name)

    @functools.wraps(real)
    def last(*args: object, **kwargs: object) -> object:
        result = real(*args, **kwargs)
        if (home / "armed").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, last)


if __name__ == "__main__":
    arm(Path(sys.argv[1]), sys.argv[2])
    sys.exit(main(["serve", "--home", sys.argv[1]]))

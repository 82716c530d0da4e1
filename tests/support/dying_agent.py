"""An agent that kills itself (SIGKILL) at a point of a change, once the file ``armed`` is there: dying_agent.py POINT ARMED ...

The further arguments are those of the agent. A point is "before NAME" or "behind NAME"; the names are those of STEPS.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from pathlib import Path

from dataplane import agent, links, local, nftrun
from dataplane.nftrun import Loader
from dataplane.remembered import Remembered

STEPS = {
    "an address or route": (links, "perform"),
    "the tables": (Loader, "load"),
    "the start of nft": (nftrun, "_start"),
    "the last word to nft": (nftrun, "_feed"),
    "the settings": (local, "_set_kernel"),
    "what is remembered": (Remembered, "moved"),
}
POINTS = [f"{when} {name}" for name in STEPS for when in ("before", "behind")]


def arm(point: str, armed: Path) -> None:
    """Let the point be the last thing that this process comes to."""
    when, _, name = point.partition(" ")
    owner, attribute = STEPS[name]
    real = getattr(owner, attribute)

    def die() -> None:
        if armed.exists():
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(real)
    def last(*args: object, **kwargs: object) -> object:
        if when == "before":
            die()
        result = real(*args, **kwargs)
        if when == "behind":
            die()
        return result

    setattr(owner, attribute, last)


if __name__ == "__main__":
    arm(sys.argv[1], Path(sys.argv[2]))
    sys.argv = [sys.argv[0], *sys.argv[3:]]
    sys.exit(agent.main())

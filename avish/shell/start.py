"""Where the program ``avish`` begins: Ctrl-C while it is still loading just ends it."""

from __future__ import annotations

import signal


def main() -> int:
    """Load the shell and run it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from avish.shell import main as shell  # loading takes a moment, and a traceback out of it tells nobody anything

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return shell.main()

"""The nft program, run as a short-lived child in the namespace of the calling thread."""

from __future__ import annotations

import re
import subprocess

from dataplane.errors import RefusedError
from dataplane.nft import TABLE

_TIMEOUT = 120
_ERROR = re.compile(r"Error: (.*)")


def check(commands: str) -> None:
    """The kernel's dry run: raises RefusedError, changes nothing."""
    _run(["-c", "-f", "-"], commands)


def load(commands: str) -> None:
    """Run ``commands`` as one transaction. Raises RefusedError; then nothing of it is in place."""
    _run(["-f", "-"], commands)


def listing() -> str | None:
    """Our table as text in canonical form; None when there is none."""
    return _list(["table", "ip", TABLE])


def chain_listing(name: str) -> str | None:
    """One chain of our table as text; None when there is none."""
    return _list(["chain", "ip", TABLE, name])


def _list(words: list[str]) -> str | None:
    try:
        return _run(["-s", "-nn", "list", *words], "")
    except RefusedError as error:
        if "No such file or directory" in str(error):
            return None
        raise


def _run(arguments: list[str], commands: str) -> str:
    try:
        done = subprocess.run(
            ["nft", *arguments], input=commands, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except FileNotFoundError as error:
        raise RefusedError("the program nft is missing: install the package nftables") from error
    except subprocess.TimeoutExpired as error:
        raise RefusedError(f"nft did not finish within {_TIMEOUT} seconds") from error
    if done.returncode == 0:
        return done.stdout
    raise RefusedError(f"nftables refused the change: {_reason(done.stderr, done.returncode)}")


def _reason(stderr: str, status: int) -> str:
    """The first complaint, without the excerpt of the commands; nft may also die without one."""
    found = _ERROR.search(stderr)
    if found:
        return found[1]
    return stderr.strip() or f"nft ended with status {status}"

"""The nft program, run as a short-lived child in the namespace of the process."""

from __future__ import annotations

import errno
import logging
import os
import re
import select
import subprocess
import threading
import time
from collections import deque

from dataplane import nftraw
from dataplane.errors import RefusedError
from dataplane.netlink import Netlink, netfilter_type
from dataplane.nft import TABLE, Change, Family

_LOG = logging.getLogger(__name__)
_TIMEOUT = 120.0
_SMALL = 65_536
"""Characters of commands up to which the announcement is listened for."""

started: deque[int] = deque(maxlen=256)
"""The processes of the last programs, for those who ask who has changed the kernel's tables."""

_ERROR = re.compile(r"Error: (.*)")
_COMMIT_GROUP = 7  # NFNLGRP_NFTABLES
_COMMIT = netfilter_type(10, 15)  # NFT_MSG_NEWGEN


def check(change: Change) -> None:
    """The kernel's dry run: raises RefusedError, changes nothing."""
    batch = nftraw.encode(change, commit=False) if len(change.text) <= _SMALL else None
    if batch is None:
        dry_run(change.text)
    else:
        _send(batch)


def dry_run(commands: str) -> None:
    """The same of nft commands."""
    _run(["-c", "-f", "-"], commands)


def takes(commands: str) -> bool:
    """Whether the kernel would carry them out."""
    try:
        dry_run(commands)
    except RefusedError:
        return False
    return True


def _send(batch: bytes) -> None:
    """Put a batch to the kernel. Raises RefusedError."""
    if not batch:
        return
    try:
        with Netlink() as kernel:
            kernel.transact(batch)
    except OSError as error:
        raise RefusedError(f"nftables refused the change: {error.strerror or error}") from error


def listing(family: Family) -> str | None:
    """Our table of an IP version as text in canonical form; None when there is none."""
    return _list("-s", "-nn", "list", "table", family, TABLE)


def chain_listing(name: str) -> str | None:
    """One chain of our IPv4 table as text; None when there is none."""
    return _list("-s", "-nn", "list", "chain", "ip", TABLE, name)


def gate_listing(table: str) -> str | None:
    """A table of the netdev family as text, without the elements of its sets; None when there is none."""
    return _list("-s", "-t", "list", "table", "netdev", table)


def ip_listing(table: str) -> str | None:
    """A table of IPv4 as text, without the elements of its sets; None when there is none."""
    return _list("-s", "-t", "list", "table", "ip", table)


def counted_listing(table: str) -> str | None:
    """The table of a tap with the values of its counters; None when there is none. Raises RefusedError."""
    return _list("list", "table", "inet", table)


def remove() -> None:
    """Take our tables away, those that are there. Raises RefusedError."""
    load("".join(f"add table {family} {TABLE}\ndelete table {family} {TABLE}\n" for family in ("ip", "ip6")))


def load(commands: str) -> None:
    """Run ``commands`` as one transaction. Raises RefusedError; then nothing of it is in place."""
    _run(["-f", "-"], commands)


class Loader:
    """Makes changes, one at a time, and does not wait longer than it must."""

    def __init__(self) -> None:
        self._commits = Netlink(timeout=0, drop_silently=True)  # kept open: to close it takes as long as nft's end

    def load(self, change: Change) -> None:
        """One transaction, made by ourselves if it is small and known, else by nft. Raises RefusedError.

        Returns as soon as the kernel announces the commit: to end takes nft 10 to 20 ms more, in which the kernel frees
        what was replaced. Without an announcement (an error, a queue that overran) the end is waited for. A large
        change would have its every part announced.
        """
        commands = change.text
        batch = nftraw.encode(change, commit=True) if len(commands) <= _SMALL else None
        if batch is not None:
            _send(batch)
            return
        if len(commands) > _SMALL:
            load(commands)
            return
        self._commits.subscribe(_COMMIT_GROUP)
        try:
            child = _start(["-f", "-"])
            _feed(child, commands)
            announced = self._announced(child)
        finally:
            self._commits.unsubscribe(_COMMIT_GROUP)
            self._committed_ports()
        if announced:
            threading.Thread(target=child.communicate, daemon=True).start()
        else:
            _finish(child, None)

    def _announced(self, child: subprocess.Popen[str]) -> bool:
        """Wait for the commit of ``child`` (True), its first word on standard error or its end (False)."""
        poll = select.poll()
        try:
            end = os.pidfd_open(child.pid)
        except OSError as error:
            _LOG.warning("the commit of nft cannot be listened for: %s", error)
            return False
        try:
            for descriptor in (end, self._commits.fileno(), child.stderr):
                if descriptor is not None:
                    poll.register(descriptor, select.POLLIN)
            deadline = time.monotonic() + _TIMEOUT
            while time.monotonic() < deadline:
                ready = {descriptor for descriptor, _ in poll.poll(_TIMEOUT * 1000)}
                if self._commits.fileno() in ready and child.pid in self._committed_ports():
                    return True
                if ready - {self._commits.fileno()}:
                    return False
            return False
        finally:
            os.close(end)

    def _committed_ports(self) -> set[int]:
        """The netlink ports, which of nft are process numbers, of the commits announced since the last call."""
        ports = set()
        while True:
            try:
                ports |= {message.port for message in self._commits.receive() if message.type == _COMMIT}
            except BlockingIOError:
                return ports
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise


def _list(*words: str) -> str | None:
    try:
        return _run(list(words), "")
    except RefusedError as error:
        if "No such file or directory" in str(error):
            return None
        raise


def _run(arguments: list[str], commands: str) -> str:
    return _finish(_start(arguments), commands)


def _start(arguments: list[str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    try:
        child = subprocess.Popen(["nft", *arguments], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        started.append(child.pid)
        return child
    except OSError as error:
        raise RefusedError(f"the program nft (package nftables) cannot be run: {error.strerror}") from error


def _feed(child: subprocess.Popen[str], commands: str) -> None:
    """All of standard input; a child that does not want it has ended, and its complaint follows."""
    if child.stdin is None:
        return
    try:
        child.stdin.write(commands)
        child.stdin.close()
    except BrokenPipeError:
        pass
    finally:
        child.stdin = None


def _finish(child: subprocess.Popen[str], commands: str | None) -> str:
    """Wait for the end; gives what was printed."""
    try:
        output, complaint = child.communicate(commands, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        child.kill()
        child.communicate()
        raise RefusedError(f"nft did not finish within {_TIMEOUT:g} seconds") from error
    if child.returncode:
        raise RefusedError(f"nftables refused the change: {_reason(complaint, child.returncode)}")
    return output


def _reason(stderr: str, status: int) -> str:
    """The first complaint, without the excerpt of the commands; nft may also die without one."""
    found = _ERROR.search(stderr)
    if found:
        return found[1]
    return stderr.strip() or f"nft ended with status {status}"

"""Runs a program behind a filter of system calls, as systemd's SystemCallFilter= does: ``filtered.py GROUP COMMAND ...``."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys

ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM


def groups():
    """What each group (``@system-service``) holds."""
    done = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True)
    found, members = {}, []
    for line in done.stdout.splitlines():
        if line.startswith("@"):
            members = found.setdefault(line.strip(), [])
        elif line.startswith("    ") and not line.strip().startswith("#"):
            members.append(line.strip())
    return found


def calls(name, known):
    """The system calls of a group and of those in it."""
    for member in known[name]:
        if member.startswith("@"):
            yield from calls(member, known)
        else:
            yield member


def main():
    known = groups()
    wanted = {*calls(sys.argv[1], known), *calls("@default", known)}
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    place = ctypes.c_void_p(library.seccomp_init(REFUSE))
    for name in wanted:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0 and library.seccomp_rule_add(place, ALLOW, number, 0):
            raise SystemExit(f"{name}: no rule")
    if library.seccomp_load(place):
        raise SystemExit("the filter is not taken")
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()

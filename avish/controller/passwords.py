"""Passwords: kept as scrypt hashes, compared in constant time, at most two worked on at once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import threading

COST, BLOCK, LANES = 2**15, 8, 1
"""32 MB and about 100 ms on one core: what a guess costs whoever steals the store."""
MEMORY = 128 * COST * BLOCK * 2
LENGTH_MAX = 1024
_TURN = threading.BoundedSemaphore(2)
"""More at once would take the memory and the cores of everybody else."""


def hashed(password: str) -> str:
    """``scrypt$<n>$<r>$<p>$<salt>$<hash>``, the latter two in base 64."""
    salt = os.urandom(16)
    return _text(salt, _derive(password, salt, COST, BLOCK, LANES))


def verified(password: str, kept: str) -> bool:
    """Whether ``kept`` was made from ``password``; with "" (nobody, or no password) it takes as long and is False."""
    parts = (kept or UNKNOWN).split("$")
    cost, block, lanes = (int(part) for part in parts[1:4])
    salt, wanted = (base64.b64decode(part) for part in parts[4:6])
    found = _derive(password, salt, cost, block, lanes)
    return hmac.compare_digest(found, wanted) and bool(kept)


def weakness(password: str, minimum: int, *, strict: bool) -> str:
    """Why a new password is refused, "" when it is good. ``strict``: three of four kinds of characters are needed."""
    if len(password) < minimum:
        return f"a password has at least {minimum} characters"
    if len(password) > LENGTH_MAX:
        return f"a password has at most {LENGTH_MAX} characters"
    kinds = (str.islower, str.isupper, str.isdigit, lambda one: not one.isalnum())
    if strict and sum(any(kind(one) for one in password) for kind in kinds) < 3:
        return "a password needs three of: small letters, capitals, digits, other characters"
    return ""


def _derive(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    secret = password[: LENGTH_MAX + 1].encode("utf-8", "surrogatepass")
    with _TURN:
        return hashlib.scrypt(secret, salt=salt, n=cost, r=block, p=lanes, maxmem=MEMORY, dklen=32)


def _text(salt: bytes, digest: bytes) -> str:
    encoded = (base64.b64encode(part).decode() for part in (salt, digest))
    return "$".join(["scrypt", str(COST), str(BLOCK), str(LANES), *encoded])


UNKNOWN = _text(b"\0" * 16, b"\0" * 32)
"""No password has this hash."""

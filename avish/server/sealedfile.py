"""Files that only a passphrase opens: AES-256-GCM in pieces, with a key that scrypt makes from the passphrase.

``MAGIC``, the salt, then pieces: their length (4 bytes), and what stands there sealed. The number of a piece is its
nonce; the last one is marked, so that a file cut short does not open.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from avish.errors import ValidationError

MAGIC = b"avish sealed backup 1\n"
SALT_BYTES, KEY_BYTES, TAG_BYTES = 16, 32, 16
COST, BLOCK, LANES = 2**15, 8, 1
"""Of scrypt: 32 MB for a guess."""
MEMORY = 128 * COST * BLOCK * 2
PIECE = 2**20
LENGTH = struct.Struct(">I")


def is_sealed(path: Path) -> bool:
    """Whether a file is one of these. Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def seal(source: IO[bytes], target: IO[bytes], passphrase: str) -> None:
    """Write what ``source`` holds, sealed."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt = os.urandom(SALT_BYTES)
    cipher = AESGCM(_key(passphrase, salt))
    target.write(MAGIC + salt)
    piece, number = source.read(PIECE), 0
    while True:
        following = source.read(PIECE)
        sealed = cipher.encrypt(_nonce(number), piece, _mark(last=not following))
        target.write(LENGTH.pack(len(sealed)) + sealed)
        if not following:
            return
        piece, number = following, number + 1


def unseal(source: IO[bytes], target: IO[bytes], passphrase: str) -> None:
    """Write what a sealed file holds. ValidationError when it does not open with this, or is not whole."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    source.read(len(MAGIC))
    cipher = AESGCM(_key(passphrase, source.read(SALT_BYTES)))
    pieces = list(_lengths(source))
    for number, (place, length) in enumerate(pieces):
        source.seek(place)
        try:
            last = number == len(pieces) - 1
            target.write(cipher.decrypt(_nonce(number), source.read(length), _mark(last=last)))
        except (InvalidTag, ValueError):
            wrong = "the passphrase is wrong" if number == 0 else "the file is damaged or not whole"
            raise ValidationError(f"the backup does not open: {wrong}") from None
    if not pieces:
        raise ValidationError("the backup does not open: the file is not whole")


def _lengths(source: IO[bytes]) -> Iterator[tuple[int, int]]:
    """Where each piece is, and how long."""
    while len(head := source.read(LENGTH.size)) == LENGTH.size:
        length, place = LENGTH.unpack(head)[0], source.tell()
        if length > PIECE + TAG_BYTES:
            raise ValidationError("the backup does not open: the file is damaged")
        yield place, length
        source.seek(place + length)


@contextmanager
def opened(path: Path, passphrase: str, folder: Path) -> Iterator[Path]:
    """What a sealed file holds, as a file in ``folder`` while inside."""
    import tempfile

    with tempfile.NamedTemporaryFile(dir=folder) as plain, path.open("rb") as source:
        unseal(source, plain, passphrase)
        plain.flush()
        yield Path(plain.name)


def _key(passphrase: str, salt: bytes) -> bytes:
    given = passphrase.encode("utf-8", "surrogateescape")
    return hashlib.scrypt(given, salt=salt, n=COST, r=BLOCK, p=LANES, maxmem=MEMORY, dklen=KEY_BYTES)


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _mark(*, last: bool) -> bytes:
    return b"last" if last else b"more"

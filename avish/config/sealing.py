"""Secrets as they stand on disk: sealed with a key that lies beside the store, the same secret always the same way."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from avish.config.config import Body
from avish.errors import UnavailableError
from avish.schema.model import Message, Schema
from avish.schema.types import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

PREFIX = "sealed:"
KEY_BYTES = 64
KEY_FILE = "secrets.key"


class Sealer(Protocol):
    """From a body to its text in the store, and back."""

    def encode(self, kind: str, body: Body) -> str:
        """JSON without a secret in clear."""

    def decode(self, text: str) -> Body:
        """The body; what cannot be unsealed stays sealed."""


class Open:
    """Of a store that nobody keeps a key for: everything in clear."""

    def encode(self, kind: str, body: Body) -> str:
        """As Sealer."""
        del kind
        return json.dumps(body, separators=(",", ":"))

    def decode(self, text: str) -> Body:
        """As Sealer."""
        body: Body = json.loads(text)
        return body


class KeySealer:
    """AES-SIV. ``keys``: the one that seals, and behind it those that sealed before it."""

    def __init__(self, keys: list[bytes], schema: Schema) -> None:
        self._keys = keys
        self._schema = schema
        self._secret: dict[str, bool] = {}

    def encode(self, kind: str, body: Body) -> str:
        """As Sealer."""
        if kind in self._schema.index and self._holds(kind):
            body = _sealed(self._schema.object(kind), body, self._seal)
        return json.dumps(body, separators=(",", ":"))

    def decode(self, text: str) -> Body:
        """As Sealer."""
        body: Body = json.loads(text)
        return _unsealed(body, self._unseal) if f'"{PREFIX}' in text else body

    @cached_property
    def _ciphers(self) -> list[AESSIV]:
        """Made when first needed: many a start needs none."""
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        return [AESSIV(key) for key in self._keys]

    def _holds(self, kind: str) -> bool:
        """Whether objects of a type have secrets at all."""
        if kind not in self._secret:
            self._secret[kind] = _has_secret(self._schema.object(kind), ())
        return self._secret[kind]

    def _seal(self, secret: str) -> str:
        return PREFIX + base64.b64encode(self._ciphers[0].encrypt(secret.encode(), None)).decode()

    def _unseal(self, text: str) -> str:
        from cryptography.exceptions import InvalidTag

        for cipher in self._ciphers:
            try:
                return cipher.decrypt(base64.b64decode(text.removeprefix(PREFIX)), None).decode()
            except (InvalidTag, ValueError):
                continue
        return text


def _has_secret(message: Message, above: tuple[int, ...]) -> bool:
    if id(message) in above:
        return False
    inside = (*above, id(message))
    return any(
        isinstance(field.type, Secret) or (field.message is not None and _has_secret(field.message, inside))
        for field in message.fields.values()
    )


def _sealed(message: Message, body: Body, seal: Callable[[str], str]) -> Body:
    result = dict(body)
    for name, value in body.items():
        field = message.fields.get(name)
        if field is None:
            continue
        if isinstance(field.type, Secret):
            result[name] = [seal(one) for one in value] if isinstance(value, list) else seal(str(value))
        elif field.message is not None:
            inner = field.message
            result[name] = (
                [_sealed(inner, one, seal) for one in value] if isinstance(value, list) else _sealed(inner, value, seal)
            )
    return result


def _unsealed(value: Any, unseal: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {name: _unsealed(one, unseal) for name, one in value.items()}
    if isinstance(value, list):
        return [_unsealed(one, unseal) for one in value]
    return unseal(value) if isinstance(value, str) and value.startswith(PREFIX) else value


def read_keys(folder: Path) -> list[bytes]:
    """The keys in ``folder``, made when there are none. UnavailableError when that fails."""
    path = folder / KEY_FILE
    try:
        if not path.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            write_keys(folder, [os.urandom(KEY_BYTES)])
        keys = [base64.b64decode(line) for line in path.read_text(encoding="ascii").split()]
    except (OSError, ValueError) as error:
        raise UnavailableError(f"{path}: the key of the secrets cannot be had: {error}") from error
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise UnavailableError(f"{path}: this is no key of ours; put the right one back (it is in every backup)")
    return keys


def write_keys(folder: Path, keys: list[bytes]) -> None:
    """Replace them, whole or not at all."""
    beside = folder / f".{KEY_FILE}.{os.getpid()}"
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w") as file:
        file.writelines(base64.b64encode(key).decode() + "\n" for key in keys)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / KEY_FILE)

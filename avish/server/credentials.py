"""``avishd passwd`` and ``avishd key``: through the controller that runs, else in the store of one that does not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from urllib.parse import quote

from avish.api.client import Answer, Client
from avish.errors import UnavailableError, ValidationError
from avish.server.home import Home

SOURCE = "avishd"


class Keeper(Protocol):
    """Where credentials are kept. ValidationError for what cannot be kept."""

    def set_password(self, user: str, password: str) -> str:
        """Set it, as root wants it; what is to be said against it."""

    def add_key(self, user: str, key: str) -> bool:
        """Whether it was new."""


@contextmanager
def accounts_of(home: Home) -> Iterator[Keeper]:
    """The credentials of a home. UnavailableError when they cannot be had."""
    client = Client(home.path)
    try:
        client.connect()
    except UnavailableError:
        if home.holder() is not None:
            raise
    else:
        yield _Running(client)
        return
    with home.lock():
        yield from _stopped(home)


class _Running:
    def __init__(self, client: Client) -> None:
        self._client = client

    def set_password(self, user: str, password: str) -> str:
        return str(self._call("PUT", user, {"password": password, "anyway": True}).body["warning"])

    def add_key(self, user: str, key: str) -> bool:
        return self._call("POST", user, {"key": key}).status == 201

    def _call(self, method: str, user: str, body: dict[str, Any]) -> Answer:
        answer = self._client.call(method, f"/api/avish/account/{quote(user, safe='')}", body=body)
        if answer.status >= 400:
            raise ValidationError(str(answer.body["error"]), status=answer.status)
        return answer


def _stopped(home: Home) -> Iterator[Keeper]:
    from avish.config.sealing import KeySealer, read_keys
    from avish.config.store import SqliteStore
    from avish.controller.accounts import Accounts
    from avish.controller.audit import Audit
    from avish.schema.load import schema

    if not home.store.exists():
        raise UnavailableError(f"{home.path} has no store yet: start the controller once (avishd serve)")
    store = SqliteStore(home.store, schema(), KeySealer(read_keys(home.keys), schema()))
    try:
        config = store.load()
        accounts, audit = Accounts(store, lambda: config, time.time), Audit(home.audit, time.time, store)
        yield _Kept(accounts, audit)
        audit.anchor()
    finally:
        store.close()


class _Kept:
    def __init__(self, accounts: Any, audit: Any) -> None:
        self._accounts, self._audit = accounts, audit

    def set_password(self, user: str, password: str) -> str:
        body = self._accounts.existing(user)
        weak = str(self._accounts.weakness(body, password))
        self._accounts.set_password(body, password)
        self._audit.write("password changed", "admin", SOURCE, account=body["name"])
        return weak

    def add_key(self, user: str, key: str) -> bool:
        body = self._accounts.existing(user)
        fresh = bool(self._accounts.add_key(body, key))
        if fresh:
            self._audit.write("key added", "admin", SOURCE, account=body["name"])
        return fresh


def rotate_key(home: Home) -> int:
    """Seal all secrets with a new key; how many objects (of all revisions) hold one. The controller must not run."""
    import os

    from avish.config.sealing import KEY_BYTES, KeySealer, read_keys, write_keys
    from avish.config.store import SqliteStore
    from avish.schema.load import schema

    if not home.store.exists():
        raise UnavailableError(f"{home.path} has no store yet")
    with home.lock():
        keys = [os.urandom(KEY_BYTES), *read_keys(home.keys)]
        write_keys(home.keys, keys)  # a crash from here on finds the old key as well
        store = SqliteStore(home.store, schema(), KeySealer(keys, schema()))
        try:
            count = store.seal_again()
        finally:
            store.close()
        write_keys(home.keys, keys[:1])
    return count

"""Users as the configuration knows them, and beside it what never is part of it: password hashes, keys, tokens."""

from __future__ import annotations

import hashlib
import math
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from avish.config.config import Body, Config
from avish.config.store import Store
from avish.controller import passwords
from avish.controller.access import ALMIGHTY, SUPERUSER, Caller, caller_of
from avish.controller.lockout import Lockout, Terms
from avish.errors import ValidationError

NOTE = "account/"
PROFILE = "Default-User-Account-Profile"
ADMIN_UUID = "user-admin"
BUILT_IN: Body = {"uuid": ADMIN_UUID, "name": SUPERUSER, "username": SUPERUSER, "is_superuser": True, "is_active": True}
"""The administrator of a store that holds no user object for him."""
DAY = 86_400.0
KEYS_MAX = 32
Record = dict[str, Any]
"""{"password", "changed", "history": [hash], "keys": [{"key", "comment"}], "tokens": [{"hash", "until"}]}."""


class RefusedError(ValidationError):
    """A login that is none. ``reason``: for the audit; the caller is told less."""

    def __init__(self, reason: str, text: str = "Invalid credentials") -> None:
        super().__init__(text, status=401)
        self.reason = reason


@dataclass
class Accounts:
    """Logs users in and keeps their credentials. ``config``: the one in force."""

    store: Store
    config: Callable[[], Config]
    clock: Callable[[], float]
    lockout: Lockout = field(init=False)
    _records: dict[str, Record] = field(default_factory=dict)
    _callers: tuple[int, dict[str, Caller]] = (-1, {})
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.lockout = Lockout(self.clock, self.store)

    # --- who there is

    def user(self, name: str) -> Body | None:
        """The user object behind a login name, or None."""
        config = self.config()
        found = config.named("user", name)
        if found is None:
            found = next((body for body in config.all("user") if body.get("username") == name), None)
        return BUILT_IN if found is None and name == SUPERUSER else found

    def existing(self, name: str) -> Body:
        """The user object; ValidationError (404) when there is none."""
        body = self.user(name)
        if body is None:
            raise ValidationError(f"there is no user {name!r} (configure user {name} first)", status=404)
        return body

    def caller(self, name: str) -> Caller:
        """What a user may do now; RefusedError when there is no such user any more."""
        config = self.config()
        if self._callers[0] != config.revision:
            self._callers = (config.revision, {})
        known = self._callers[1]
        if name not in known:
            body = self.user(name)
            if body is None or not body.get("is_active", True):
                raise RefusedError("the user is gone or not active")
            known[name] = caller_of(config, body)
        return known[name]

    def local(self, name: str) -> Caller:
        """Somebody at the local socket: root is the administrator; one of group avish without an account may all."""
        if name == SUPERUSER or self.user(name) is None:
            return Caller(name, superuser=True) if name != SUPERUSER else ALMIGHTY
        return self.caller(name)

    # --- logging in

    def log_in(self, name: str, password: str, source: str) -> Body:
        """The user whose password this is; RefusedError otherwise. Takes as long for a user that does not exist."""
        self._unlocked(name, source)
        body = self.user(name)
        record = self.record(body["uuid"]) if body else {}
        fine = passwords.verified(password, record.get("password", ""))
        if body is None or not fine:
            why = "wrong password" if record.get("password") else "no such user, or one without a password"
            self._failed(name, source, body, why)
            raise RefusedError(why)
        return self._welcome(body, record, name, source)

    def log_in_with_token(self, name: str, token: str, source: str) -> Body:
        """The user whose token this is."""
        self._unlocked(name, source)
        digest, body = _digest(token), self.user(name)
        tokens = self.record(body["uuid"]).get("tokens", []) if body else []
        fine = [one for one in tokens if secrets.compare_digest(one["hash"], digest) and one["until"] > self.clock()]
        if body is None or not fine:
            self._failed(name, source, body, "wrong token")
            raise RefusedError("wrong token")
        return self._welcome(body, {}, name, source)

    def log_in_with_key(self, name: str, key: str, source: str) -> Body:
        """The user who has this public key; that its owner is there the caller has made sure of."""
        self._unlocked(name, source)
        body = self.user(name)
        if body is None or _bare(key) not in [_bare(one["key"]) for one in self.keys(body)]:
            raise RefusedError("a key that is not his")
        return self._welcome(body, {}, name, source)

    def _unlocked(self, name: str, source: str) -> None:
        left = self.lockout.left(name, source)
        if left > 0:
            long = "until an administrator sets a new password" if left == math.inf else f"for {left:.0f} s more"
            raise RefusedError("locked", f"too many failures: the account is locked {long}")

    def _failed(self, name: str, source: str, body: Body | None, why: str) -> None:
        if self.lockout.failed(name, source, self.terms(body)):
            raise RefusedError(f"{why}; locked now")

    def _welcome(self, body: Body, record: Record, name: str, source: str) -> Body:
        if not body.get("is_active", True):
            raise RefusedError("not active")
        days = int(self.profile(body).get("credentials_timeout_threshold", 0))
        if days and record and self.clock() - float(record.get("changed", 0)) > days * DAY:
            raise RefusedError("expired", f"the password is older than {days} days: an administrator sets a new one")
        self.lockout.succeeded(name, source)
        return body

    def profile(self, body: Body | None) -> Mapping[str, Any]:
        """The account profile of a user."""
        config = self.config()
        return config.target((body or {}).get("user_profile_ref")) or config.named("useraccountprofile", PROFILE) or {}

    def terms(self, body: Body | None) -> Terms:
        """How often a user may guess."""
        profile = self.profile(body)
        return Terms(
            int(profile.get("max_login_failure_count", 20)),
            60.0 * int(profile.get("account_lock_timeout", 30)) or math.inf,
            60.0 * int(profile.get("login_failure_count_expiry_window", 0)),
        )

    # --- credentials

    def record(self, uuid: str) -> Record:
        """The credentials of a user."""
        with self._lock:
            if uuid not in self._records:
                self._records[uuid] = self.store.note(NOTE + uuid) or {}
            return self._records[uuid]

    def _keep(self, uuid: str, **changed: Any) -> None:
        with self._lock:
            record = {**self.record(uuid), **changed}
            self.store.keep({NOTE + uuid: record})
            self._records[uuid] = record

    def check_password(self, body: Body, password: str) -> None:
        """ValidationError when a new password is too weak or was used before."""
        if weak := self.weakness(body, password):
            raise ValidationError(weak)

    def weakness(self, body: Body, password: str) -> str:
        """Why a new password is not taken, "" when it is fine."""
        portal = (self.config().get("systemconfiguration", "systemconfiguration") or {}).get("portal_configuration", {})
        minimum = int(portal.get("minimum_password_length", 8))
        weak = passwords.weakness(password, minimum, strict=bool(portal.get("password_strength_check")))
        if weak:
            return weak
        record, count = self.record(body["uuid"]), int(self.profile(body).get("max_password_history_count", 0))
        used = [record.get("password", ""), *record.get("history", [])][:count]
        if any(old and passwords.verified(password, old) for old in used):
            return f"this is one of the last {count} passwords; choose another"
        return ""

    def set_password(self, body: Body, password: str) -> None:
        """Keep a new password that was checked."""
        new = {body["uuid"]: passwords.hashed(password)}
        with self._lock:
            self.store.keep(self.renewed(new))
            self.kept(new)

    def renewed(self, hashes: Mapping[str, str]) -> dict[str, Record]:
        """The notes of the store that keep new passwords; ``hashes`` by uuid of the user."""
        return {NOTE + uuid: self._with_password(self.record(uuid), hashed) for uuid, hashed in hashes.items()}

    def kept(self, hashes: Mapping[str, str]) -> None:
        """The store keeps those: who was locked out may come in."""
        for uuid in hashes:
            with self._lock:
                self._records.pop(uuid, None)
            self.lockout.unlock(str((self.config().get("user", uuid) or BUILT_IN)["name"]))

    def _with_password(self, record: Record, hashed: str) -> Record:
        history = [one for one in (record.get("password"), *record.get("history", [])) if one][:24]
        return {**record, "password": hashed, "changed": self.clock(), "history": history}

    def keys(self, body: Body) -> list[dict[str, str]]:
        """The public keys of a user, each {"key": "type base64", "comment"}."""
        return list(self.record(body["uuid"]).get("keys", []))

    def add_key(self, body: Body, text: str) -> bool:
        """Add a public key as it stands in an OpenSSH file; whether it was new. ValidationError for what is none."""
        kind, data, *rest = [*text.split(None, 2), "", ""][:3]
        if not kind.startswith(("ssh-", "ecdsa-", "sk-")) or not data.startswith("AAAA"):
            raise ValidationError("this is no public key: a line such as 'ssh-ed25519 AAAA... comment' is expected")
        keys = self.keys(body)
        if _bare(text) in [_bare(one["key"]) for one in keys]:
            return False
        if len(keys) >= KEYS_MAX:
            raise ValidationError(f"{body['name']} has {KEYS_MAX} keys already; remove one first")
        self._keep(body["uuid"], keys=[*keys, {"key": f"{kind} {data}", "comment": rest[0].strip()}])
        return True

    def remove_key(self, body: Body, text: str) -> None:
        """Remove a public key, given whole or by its comment. ValidationError (404) when there is none."""
        keys = self.keys(body)
        left = [one for one in keys if text not in (one["comment"], one["key"]) and _bare(text) != _bare(one["key"])]
        if len(left) == len(keys):
            raise ValidationError(f"{body['name']} has no such key", status=404)
        self._keep(body["uuid"], keys=left)

    def new_token(self, body: Body, hours: float) -> tuple[str, float]:
        """A token in place of the password, and until when it is good."""
        token, now = secrets.token_urlsafe(30), self.clock()
        alive = [one for one in self.record(body["uuid"]).get("tokens", []) if one["until"] > now]
        until = now + hours * 3600
        self._keep(body["uuid"], tokens=[*alive[-31:], {"hash": _digest(token), "until": until}])
        return token, until

    def forget(self, uuid: str) -> None:
        """The user is gone, and with him all that was his."""
        with self._lock:
            self.store.keep({NOTE + uuid: None})
            self._records.pop(uuid, None)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _bare(key: str) -> str:
    """Type and data of a public key, without its comment."""
    return " ".join(key.split()[:2])

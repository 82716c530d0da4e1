"""Who sent a request, as its door and its cookies say; and the rights it comes with."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from avish.api.request import Request
from avish.config.config import Config
from avish.config.wellknown import ADMIN_TENANT
from avish.controller.access import Caller, Scope, authorise
from avish.controller.accounts import Accounts, RefusedError
from avish.controller.labels import ALL, labelled
from avish.controller.sessions import Session, Sessions, same
from avish.errors import ValidationError
from avish.schema.model import Schema

COOKIES = ("sessionid", "avi-sessionid")
CSRF_COOKIE = "csrftoken"
COOKIE_AGE, CSRF_AGE = 86_400, 31_449_600
VERSION = re.compile(r"\d{1,3}(\.\d{1,3}){0,3}(p\d{1,2})?")
READING = ("GET", "HEAD", "OPTIONS")
BASIC_SECONDS = 60.0
PUBLIC = frozenset({"/api/initial-data"})
"""What strangers may read as well."""


class CsrfError(Exception):
    """A write without the token that proves that the session's own program sends it."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request whose user and tenant are known. ``session``: the one it belongs to, if any."""

    request: Request
    session: Session | None = None


@dataclass
class Gate:
    """Finds out who asks. Raises RefusedError (401), CsrfError, ValidationError (400, 403)."""

    schema: Schema
    accounts: Accounts
    sessions: Sessions
    _basic: dict[bytes, tuple[float, str]] = field(default_factory=dict)
    _salt: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    _shared: Mapping[str, frozenset[str]] = field(init=False)
    _carriers: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self._shared = {
            kind: frozenset(str(body.get("name", "")) for body in bodies)
            for kind, bodies in self.schema.defaults.items()
        }
        self._carriers = frozenset(kind for kind in self.schema.index if labelled(self.schema, kind))

    def admit(self, request: Request) -> Admitted:
        """The request with its user and the tenant it works in."""
        _version(request)
        if request.via == "unix":
            authorise(request)
            return Admitted(self._placed(request, self.accounts.local(request.user)))
        if request.path in PUBLIC and request.method == "GET":
            return Admitted(request)
        session = self._session(request)
        if session is not None:
            name = session.user
            if request.method not in READING and request.via == "https":
                _csrf(request, session)
        else:
            name = self._authorisation(request)
        caller = self.accounts.caller(name)
        source = session.source if session is not None and request.via == "ssh" else request.source
        return Admitted(self._placed(replace(request, user=caller.name, source=source), caller), session)

    def scope(self, request: Request) -> Scope:
        """The rights of an admitted request."""
        local = request.via == "unix"
        caller = self.accounts.local(request.user) if local else self.accounts.caller(request.user)
        tenant = self.accounts.config().get("tenant", request.tenant) or {"name": request.tenant}
        return Scope(caller, request.tenant, self._shared, str(tenant["name"]), self._carriers)

    def tenant(self, name: str) -> str:
        """The uuid of the tenant called ``name``; that of admin when it is gone."""
        return self.accounts.config().uuid_of("tenant", name) or ADMIN_TENANT

    def _session(self, request: Request) -> Session | None:
        """The session its cookies name; RefusedError when that is over. None: it names none."""
        jar = cookies(request.headers.get("cookie", ""))
        named = [jar[name] for name in COOKIES if jar.get(name)]
        if not named or "authorization" in request.headers:
            return None
        for identity in named:
            session = self.sessions.find(identity)
            if session is not None:
                return session
        raise RefusedError("stale session", "the session is over; log in again")

    def _authorisation(self, request: Request) -> str:
        """The user of HTTP basic authentication; RefusedError without, or where it is not allowed."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            raise RefusedError("not logged in", "log in first: POST /login")
        if not self._basic_allowed(self.accounts.config()):
            text = "basic authentication is off (systemconfiguration portal_configuration allow_basic_authentication)"
            raise RefusedError("basic authentication is off", text)
        try:
            name, _, password = base64.b64decode(given, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise RefusedError("no basic authentication", "this is no basic authentication") from None
        return self._basic_user(name, password, request.source)

    def _basic_user(self, name: str, password: str, source: str) -> str:
        """Verified passwords count for a while: a client sends one with each request."""
        kept = self.accounts.record((self.accounts.user(name) or {}).get("uuid", "")).get("password", "")
        mark = hashlib.sha256(b"\0".join([self._salt, name.encode(), password.encode(), kept.encode()])).digest()
        until, known = self._basic.get(mark, (0.0, ""))
        if until > time.monotonic():
            return known
        user = str(self.accounts.log_in(name, password, source)["name"])
        if len(self._basic) > 1000:
            self._basic.clear()
        self._basic[mark] = (time.monotonic() + BASIC_SECONDS, user)
        return user

    @staticmethod
    def _basic_allowed(config: Config) -> bool:
        body = config.get("systemconfiguration", "systemconfiguration") or {}
        return bool(body.get("portal_configuration", {}).get("allow_basic_authentication"))

    def _placed(self, request: Request, caller: Caller) -> Request:
        """With the uuid of the tenant its headers name; ValidationError when the caller may not enter that."""
        name, uuid = request.headers.get("x-avi-tenant", ""), request.headers.get("x-avi-tenant-uuid", "")
        tenant = self._tenant(name, uuid) if name or uuid else caller.default_tenant
        if not caller.enters(tenant):
            raise ValidationError(f"{caller.name} may not enter tenant {name or uuid or tenant}", status=403)
        return replace(request, tenant=tenant)

    def _tenant(self, name: str, uuid: str) -> str:
        config = self.accounts.config()
        if ALL in (name, uuid):
            return ALL
        found = uuid if config.get("tenant", uuid) else config.uuid_of("tenant", name)
        if found is None and name != ADMIN_TENANT:
            raise ValidationError(f"Tenant object {name or uuid} not found!", status=404)
        return found or ADMIN_TENANT


def cookies(header: str) -> dict[str, str]:
    """The cookies of a request; of several with one name the last counts, as clients that renew them rely on."""
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return {name: value.strip('"') for name, _, value in pairs if name}


def _csrf(request: Request, session: Session) -> None:
    if not same(request.headers.get("x-csrftoken", ""), session.csrf):
        raise CsrfError


def _version(request: Request) -> None:
    version = request.headers.get("x-avi-version", "")
    if version and not VERSION.fullmatch(version):
        raise ValidationError(f"Invalid version {version!r}: X-Avi-Version is a release such as 22.1.3")


def session_cookies(session: Session, *, fresh: bool = False) -> tuple[str, ...]:
    """Set-Cookie for a session, renewed with each answer."""
    rest = f"Path=/; Max-Age={COOKIE_AGE}; HttpOnly; Secure; SameSite=Lax"
    set_ids = tuple(f"{name}={session.id}; {rest}" for name in COOKIES)
    return (f"{CSRF_COOKIE}={session.csrf}; Path=/; Max-Age={CSRF_AGE}; Secure", *set_ids) if fresh else set_ids


def no_cookies() -> tuple[str, ...]:
    """Set-Cookie that ends what ``session_cookies`` began."""
    return tuple(f"{name}=; Path=/; Max-Age=0; Secure" for name in (CSRF_COOKIE, *COOKIES))

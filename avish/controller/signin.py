"""/login, /logout, and what users do with their own accounts and administrators with those of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from avish.api.request import Request, Response
from avish.config.config import Body
from avish.config.wellknown import ADMIN_TENANT
from avish.controller import passwords
from avish.controller.access import ANYBODY, CONTROLLER, READ, SUPERUSER, WRITE, Scope, permission, require
from avish.controller.accounts import Accounts, RefusedError
from avish.controller.audit import Audit
from avish.controller.gate import COOKIES, Gate, cookies, no_cookies, session_cookies
from avish.controller.notices import iso
from avish.controller.sessions import LIFE_SECONDS, Sessions
from avish.errors import ValidationError

LOGIN, LOGOUT = "/login", "/logout"
PERMISSION = "PERMISSION_USER"
AREAS: Mapping[str, tuple[str, bool]] = {
    **dict.fromkeys(("audit", "commits", "commit", "jobs", "tech-support", "rollback", "import"), (CONTROLLER, True)),
    "events": ("PERMISSION_TECHSUPPORT", True),
    "alerts": ("PERMISSION_ALERT", False),
    **dict.fromkeys(("top", "ftp"), ("PERMISSION_SERVICEENGINE", False)),
}
"""Words of commands about no object: the permission they take, and whether in tenant admin (else in one's own)."""
TOKEN_HOURS = 1.0
TOKEN_HOURS_MAX = 8760.0
IDLE_MINUTES = 15
SHELL_IDLE = 24 * 3600.0
"""A shell is over when its connection is: its front watches over the idle time itself."""


@dataclass
class SignIn:
    """Logs in and out."""

    accounts: Accounts
    sessions: Sessions
    audit: Audit
    version: Callable[[], Mapping[str, Any]]

    def handle(self, request: Request) -> Response | None:
        """The answer at /login and /logout, None anywhere else."""
        path = request.path.rstrip("/") or "/"
        if path not in (LOGIN, LOGOUT):
            return None
        if request.method != "POST":
            raise ValidationError(f"Method {request.method!r} not allowed at {path}", status=405)
        return self._log_in(request) if path == LOGIN else self._log_out(request)

    def _log_in(self, request: Request) -> Response:
        given = request.body if isinstance(request.body, dict) else {}
        name, source = str(given.get("username") or ""), request.source
        if request.via == "ssh" and given.get("probe"):
            self.accounts.log_in_with_key(name, str(given.get("ssh_key")), source)
            return Response(200, {})
        try:
            user = self._user(request, given, name)
            self._room(user)
        except RefusedError as error:
            write = self.audit.write_some if error.reason == "locked" else self.audit.write
            write("login refused", name[:128], source, request.id, reason=error.reason)
            raise
        idle = SHELL_IDLE if request.via == "ssh" else self._idle()
        session = self.sessions.begin(str(user["name"]), source, request.via, idle=idle)
        self.audit.write("login", session.user, source, request.id, via=request.via)
        return Response(200, self._welcome(user, session.id), cookies=session_cookies(session, fresh=True))

    def _idle(self) -> float:
        """Seconds without a request after which a session ends, as the controller's properties say; 0 there: never."""
        properties = self.accounts.config().get("controllerproperties", "controllerproperties") or {}
        return 60.0 * int(properties.get("api_idle_timeout", IDLE_MINUTES)) or LIFE_SECONDS

    def _user(self, request: Request, given: Mapping[str, Any], name: str) -> Body:
        """The SSH front proves the possession of a key itself: it is asked for the key only."""
        if request.via == "ssh" and "ssh_key" in given:
            return self.accounts.log_in_with_key(name, str(given["ssh_key"]), request.source)
        if given.get("token"):
            return self.accounts.log_in_with_token(name, str(given["token"]), request.source)
        return self.accounts.log_in(name, str(given.get("password") or ""), request.source)

    def _room(self, user: Body) -> None:
        most = int(self.accounts.profile(user).get("max_concurrent_sessions", 0))
        if most and len(self.sessions.of(str(user["name"]))) >= most:
            raise RefusedError("too many sessions", f"{user['name']} has {most} sessions already, as many as allowed")

    def _welcome(self, user: Body, identity: str) -> Body:
        caller, config = self.accounts.caller(str(user["name"])), self.accounts.config()
        tenants = [one for one in config.all("tenant") if caller.enters(one["uuid"])]
        default = config.get("tenant", caller.default_tenant) or {"name": ADMIN_TENANT}
        return {
            "version": dict(self.version()),
            "session_cookie_name": COOKIES[0],
            "session_id": identity,
            "user_initialized": True,
            "user": {
                "name": user["name"],
                "username": user.get("username") or user["name"],
                "is_superuser": caller.superuser,
                "default_tenant_ref": f"/api/tenant/{caller.default_tenant}#{default['name']}",
                "local": True,
            },
            "tenants": [{"name": one["name"], "uuid": one["uuid"]} for one in tenants],
            "system_config": {},
        }

    def _log_out(self, request: Request) -> Response:
        jar = cookies(request.headers.get("cookie", ""))
        for identity in {jar[name] for name in COOKIES if name in jar}:
            session = self.sessions.find(identity)
            if session is not None:
                self.sessions.end(identity)
                self.audit.write("logout", session.user, request.source, request.id)
        return Response(200, {}, cookies=no_cookies())


@dataclass
class OwnAccount:
    """/api/useraccount, /api/user-token, /api/avish/session and /api/avish/account/<user>."""

    accounts: Accounts
    sessions: Sessions
    gate: Gate
    audit: Audit

    def resources(self) -> dict[tuple[str, ...], Mapping[str, Callable[[Request], Response]]]:
        """By path below /api/ and method."""
        return {
            ("useraccount",): {"GET": self._get, "PUT": self._change},
            ("user-token",): {"POST": self._token},
            ("avish", "session"): {"GET": self._session},
            ("avish", "account", "*"): {
                "GET": self._account, "PUT": self._set_password, "POST": self._add_key, "DELETE": self._remove_key,
            },
        }  # fmt: skip

    def _get(self, request: Request) -> Response:
        body = self.accounts.existing(request.user)
        names = ("uuid", "name", "username", "full_name", "email", "is_superuser", "default_tenant_ref")
        return Response(200, {name: body[name] for name in names if name in body})

    def _change(self, request: Request) -> Response:
        """{"old_password", "password"}: the own password; the session goes on, all others of the user end."""
        given, body = request.body if isinstance(request.body, dict) else {}, self.accounts.existing(request.user)
        kept = self.accounts.record(body["uuid"]).get("password", "")
        known = passwords.verified(str(given.get("old_password") or ""), kept)
        if not known and (kept or request.via != "unix"):
            self.accounts.lockout.failed(request.user, request.source, self.accounts.terms(body))
            raise ValidationError("the old password is wrong", status=403)
        self._renew(request, body, str(given.get("password") or ""))
        return Response(200, {"name": body["name"]})

    def _renew(self, request: Request, body: Body, password: str, *, anyway: bool = False) -> None:
        if not anyway:
            self.accounts.check_password(body, password)
        self.accounts.set_password(body, password)
        jar = cookies(request.headers.get("cookie", ""))
        self.sessions.end_of(str(body["name"]), but=next((jar[one] for one in COOKIES if one in jar), ""))
        self.audit.write("password changed", request.user, request.source, request.id, account=body["name"])

    def _token(self, request: Request) -> Response:
        """{"hours": n}: a token that logs its user in, in place of the password."""
        given = request.body if isinstance(request.body, dict) else {}
        try:
            hours = float(given.get("hours", TOKEN_HOURS))
        except (TypeError, ValueError):
            raise ValidationError(f"hours: {given.get('hours')!r} is no number") from None
        if not 0 < hours <= TOKEN_HOURS_MAX:
            raise ValidationError(f"hours: a token is good for up to {TOKEN_HOURS_MAX:.0f} hours")
        token, until = self.accounts.new_token(self.accounts.existing(request.user), hours)
        self.audit.write("token made", request.user, request.source, request.id, hours=hours)
        return Response(201, {"username": request.user, "token": token, "expires_at": iso(until)})

    def _session(self, request: Request) -> Response:
        """Who asks, and what he may do here."""
        scope, config = self.gate.scope(request), self.accounts.config()
        tenants = [str(one["name"]) for one in config.all("tenant") if scope.caller.enters(one["uuid"])]
        tables = [] if scope.caller.superuser else [scope.caller.access.get(one, {}) for one in (scope.tenant, "*")]
        levels = {name: scope.caller.level(name, scope.tenant) for table in tables for name in table}
        told = {"user": request.user, "tenant": scope.tenant, "superuser": scope.caller.superuser}
        objects = {kind: scope.caller.level(permission(kind), scope.tenant) for kind in self.gate.schema.index}
        objects["tenant"] = max(objects.get("tenant", READ), READ)  # everybody sees those he may enter
        areas = {
            word: scope.caller.level(name, ADMIN_TENANT if system else scope.tenant)
            for word, (name, system) in AREAS.items()
        }
        return Response(200, {**told, "tenants": tenants, "privileges": levels, "objects": objects, "areas": areas})

    # --- accounts of others

    def _named(self, request: Request, level: int) -> Body:
        """The account in the path; only superusers touch those of superusers, each user his own."""
        body = self.accounts.existing(request.path.rstrip("/").rpartition("/")[2])
        scope: Scope = self.gate.scope(request)
        if body["name"] == request.user:
            require(scope.caller, ANYBODY, scope.tenant, level)
            return body
        require(scope.caller, PERMISSION, scope.tenant, level)
        if level == WRITE and body.get("is_superuser") and not scope.caller.superuser:
            raise ValidationError(f"{body['name']} is a superuser: only another one changes this account", status=403)
        return body

    def _account(self, request: Request) -> Response:
        body = self._named(request, READ)
        locked = body["name"] in self.accounts.lockout.locked()
        record = self.accounts.record(body["uuid"])
        told = {"name": body["name"], "password": bool(record.get("password")), "locked": locked}
        return Response(200, {**told, "keys": self.accounts.keys(body)})

    def _set_password(self, request: Request) -> Response:
        body = self._named(request, WRITE)
        if body["name"] == request.user and request.via != "unix":
            raise ValidationError("your own password is changed with the old one: PUT /api/useraccount", status=403)
        given = request.body if isinstance(request.body, dict) else {}
        password = str(given.get("password") or "")
        root = request.via == "unix" and request.user == SUPERUSER
        weak = self.accounts.weakness(body, password)
        self._renew(request, body, password, anyway=bool(root and given.get("anyway") and password))
        return Response(200, {"name": body["name"], "warning": weak})

    def _add_key(self, request: Request) -> Response:
        body = self._named(request, WRITE)
        given = request.body if isinstance(request.body, dict) else {}
        fresh = self.accounts.add_key(body, str(given.get("key") or ""))
        if fresh:
            self.audit.write("key added", request.user, request.source, request.id, account=body["name"])
        return Response(201 if fresh else 200, {"name": body["name"], "keys": self.accounts.keys(body)})

    def _remove_key(self, request: Request) -> Response:
        body = self._named(request, WRITE)
        given = request.body if isinstance(request.body, dict) else {}
        self.accounts.remove_key(body, str(given.get("key") or ""))
        self.audit.write("key removed", request.user, request.source, request.id, account=body["name"])
        return Response(200, {"name": body["name"], "keys": self.accounts.keys(body)})

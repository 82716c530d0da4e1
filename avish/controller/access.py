"""Who may do what: the one place that decides. Roles give levels, per permission of the vendor's and per tenant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from avish.api.request import Request
from avish.config.config import Body, Config, uuid_in
from avish.config.references import PROFILES
from avish.config.wellknown import ADMIN_TENANT
from avish.controller.labels import ALL, MARKERS, Grant, filters_of, level_in
from avish.errors import ValidationError

SUPERUSER = "admin"
SYSTEM = "system"
"""The controller itself, as the author of changes nobody asked for."""
NONE, READ, WRITE = 0, 1, 2
LEVELS = {"NO_ACCESS": NONE, "READ_ACCESS": READ, "WRITE_ACCESS": WRITE}
WORDS = {READ: "READ_ACCESS", WRITE: "WRITE_ACCESS"}
ANYBODY = ""
"""In place of a permission: whoever is logged in."""
CONTROLLER = "PERMISSION_CONTROLLER"
PERMISSIONS = {
    "vsvip": "PERMISSION_VIRTUALSERVICE",
    "debugserviceengine": "PERMISSION_TRAFFIC_CAPTURE",
    "debugvirtualservice": "PERMISSION_TRAFFIC_CAPTURE",
    "useraccountprofile": "PERMISSION_USER",
    "serverautoscalepolicy": "PERMISSION_AUTOSCALE",
    "seproperties": "PERMISSION_SERVICEENGINEGROUP",
    "backup": "PERMISSION_SYSTEMCONFIGURATION",
    "backupconfiguration": "PERMISSION_SYSTEMCONFIGURATION",
    "scheduler": "PERMISSION_SYSTEMCONFIGURATION",
    "cluster": CONTROLLER,
    "controllerproperties": CONTROLLER,
    "debugcontroller": CONTROLLER,
}
"""Of object types whose permission has another name."""


def permission(kind: str) -> str:
    """The vendor's permission for an object type."""
    return PERMISSIONS.get(kind, f"PERMISSION_{kind.upper()}")


@dataclass(frozen=True, slots=True)
class Caller:
    """A user as one revision sees him. ``access``: by tenant uuid (or "*"), levels by permission."""

    name: str
    superuser: bool = False
    access: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    default_tenant: str = ADMIN_TENANT
    grants: tuple[Grant, ...] = ()
    """What each of his roles gives, when one of them has filters; without, ``access`` says it all."""

    def level(self, wanted: str, tenant: str) -> int:
        """What is allowed in a tenant; in the view of all of them, the most that is allowed in any."""
        if self.superuser:
            return WRITE
        tables = self.access.values() if tenant == ALL else [self.access.get(one, {}) for one in (tenant, ALL)]
        if wanted == ANYBODY:
            return WRITE
        return max((level_in(table, wanted) for table in tables), default=NONE)

    def level_on(self, wanted: str, tenant: str, body: Mapping[str, Any]) -> int:
        """What is allowed with one object there, whose labels the filters of roles look at."""
        if self.superuser or not self.grants:
            return self.level(wanted, tenant)
        there = [one for one in self.grants if one.tenant in (tenant, ALL) and one.covers(body)]
        return max((one.level(wanted) for one in there), default=NONE)

    def enters(self, tenant: str) -> bool:
        """Whether a tenant is open to him; the view of all of them shows what he may see in each."""
        return self.superuser or tenant == ALL or ALL in self.access or tenant in self.access


NOBODY = Caller("")
ALMIGHTY = Caller(SUPERUSER, superuser=True)


def caller_of(config: Config, user: Body) -> Caller:
    """What a user object may do."""
    tables: dict[str, dict[str, int]] = {}
    grants = tuple(granted(config, user))
    for grant in grants:
        table = tables.setdefault(grant.tenant, {})
        for name, level in grant.levels.items():
            table[name] = max(level, table.get(name, NONE))
    default = uuid_in(user.get("default_tenant_ref")) or next(iter(tables), ADMIN_TENANT)
    return Caller(
        str(user["name"]),
        bool(user.get("is_superuser")),
        tables,
        ADMIN_TENANT if default == ALL else default,
        grants if any(grant.filters for grant in grants) else (),
    )


def granted(config: Config, user: Body) -> Iterable[Grant]:
    """What each role of a user object gives."""
    for grant in user.get("access", []):
        role = config.target(grant.get("role_ref")) or {}
        tenant = ALL if grant.get("all_tenants") else uuid_in(grant.get("tenant_ref")) or ADMIN_TENANT
        yield Grant(tenant, dict(_levels(role)), filters_of(role), bool(role.get("allow_unlabelled_access", True)))


def _levels(role: Body) -> Iterable[tuple[str, int]]:
    for privilege in role.get("privileges", []):
        yield str(privilege.get("resource")), LEVELS.get(str(privilege.get("type")), NONE)


def require(caller: Caller, wanted: str, tenant: str, level: int, name: str = "") -> None:
    """ValidationError (403) that names the missing permission. ``name``: of the tenant."""
    if caller.level(wanted, tenant) < level:
        where = "any tenant" if tenant == ALL else f"tenant {name or tenant}"
        text = f"{caller.name} may not do this: {WORDS[level]} of {wanted} in {where} is missing"
        raise ValidationError(f"{text}; a role with it gives it (configure user, access)", status=403)


def authorise(request: Request) -> None:
    """Raises ValidationError (403) when the door did not know who asks."""
    if not request.user:
        raise ValidationError("the system does not know the user who asks", status=403)


INFRASTRUCTURE = frozenset(
    {"cloud", "vrfcontext", "network", "serviceengine", "serviceenginegroup", "debugserviceengine"}
)
"""What the provider has for all tenants."""
FOREIGN = (
    "flowtable",
    "nat-flows",
    "natpolicystat",
    "network-service",
    "placement",
    "route-flows",
    "tcp-flows",
    "vshash",
)
"""How the shows of an engine begin that tell of services, rules and clients of every tenant."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What one request may see and change: the caller's rights in the tenant it works in.

    ``shared``: the names of the system's own objects, by type.
    """

    caller: Caller = ALMIGHTY
    tenant: str = ADMIN_TENANT
    shared: Mapping[str, frozenset[str]] = field(default_factory=dict)
    name: str = ADMIN_TENANT
    """Of the tenant."""
    carriers: frozenset[str] = frozenset()
    """The types whose objects carry labels."""

    def sees(self, kind: str, body: Mapping[str, Any]) -> bool:
        """Whether an object is shown."""
        owner = uuid_in(body.get("tenant_ref"))
        if kind == "tenant" and not self.caller.enters(str(body["uuid"])):
            return self.caller.level(permission(kind), self.tenant) >= READ
        if self.tenant == ALL:
            return not owner or self._sees_in(kind, body, owner)
        if self.is_shared(kind, body):
            return owner != self.tenant or self._labelled(kind, body, owner) or self.is_shipped(kind, body)
        return owner in ("", self.tenant) and self._labelled(kind, body, owner or self.tenant)

    def _sees_in(self, kind: str, body: Mapping[str, Any], owner: str) -> bool:
        return self.caller.level_on(permission(kind), owner, body) >= READ or self.is_shared(kind, body)

    def _labelled(self, kind: str, body: Mapping[str, Any], owner: str) -> bool:
        """Whether the labels of an object that may be seen otherwise are those of the caller's roles."""
        if not self.caller.grants or kind not in self.carriers:
            return True
        return self.caller.level_on(permission(kind), owner, body) >= READ

    def is_shipped(self, kind: str, body: Mapping[str, Any]) -> bool:
        """Whether it is of those that the system came with: they carry no labels, and everybody refers to them."""
        return body.get("name") in self.shared.get(kind, ())

    def is_shared(self, kind: str, body: Mapping[str, Any]) -> bool:
        """Whether every tenant may see and refer to it: infrastructure, profiles, and what the system came with."""
        if uuid_in(body.get("tenant_ref")) != ADMIN_TENANT:
            return False
        return kind in INFRASTRUCTURE or kind in PROFILES or self.is_shipped(kind, body)

    def tenants(self, config: Config) -> list[str]:
        """Where names are looked up: the own tenant first, then those whose objects are shared."""
        if self.tenant == ALL:
            return [str(body["uuid"]) for body in config.all("tenant")]
        return list(dict.fromkeys([self.tenant, ADMIN_TENANT]))

    def find(self, config: Config, kind: str, name: str) -> Body | None:
        """The object of that name that is meant from here, or None."""
        for tenant in self.tenants(config):
            body = config.named(kind, name, tenant)
            if body is not None and self.sees(kind, body):
                return body
        return None

    def require(self, kind: str, level: int) -> None:
        """ValidationError (403) unless the caller may read (write) objects of a type here."""
        if kind == "tenant" and level == READ:
            return  # each user sees those he may enter
        require(self.caller, permission(kind), self.tenant, level, self.name)

    def require_write(self, kind: str, body: Mapping[str, Any] | None) -> None:
        """ValidationError (403) unless the caller may change this object (None: make one) here."""
        if self.tenant == ALL:
            raise ValidationError("the view of all tenants only shows; choose a tenant to change something", status=403)
        self.require(kind, WRITE)
        owner = uuid_in((body or {}).get("tenant_ref"))
        if owner and owner != self.tenant:
            text = f"{kind} {(body or {}).get('name', '')} belongs to another tenant ({owner}), not to {self.name}"
            raise ValidationError(f"{text}: switch to that tenant to change it", status=403)
        if body is not None:
            self.require_labels(kind, body)

    def require_there(self, kind: str, body: Mapping[str, Any], level: int) -> None:
        """ValidationError (403) unless the caller has the permission where the object belongs, wherever he works."""
        owner = uuid_in(body.get("tenant_ref")) or (ADMIN_TENANT if kind in INFRASTRUCTURE else self.tenant)
        require(self.caller, permission(kind), owner, level, self.name if owner == self.tenant else "")

    def require_labels(self, kind: str, body: Mapping[str, Any]) -> None:
        """ValidationError (403) unless the labels of an object are those that the caller may write here."""
        if not self.caller.grants or kind not in self.carriers:
            return
        if self.caller.level_on(permission(kind), self.tenant, body) < WRITE:
            filters = {str(one) for grant in self.caller.grants for one in grant.filters}
            text = f"{self.caller.name} may not do this: {kind} {body.get('name', '')} has other labels than those that"
            raise ValidationError(f"{text} the roles want ({'; '.join(sorted(filters))}); see {MARKERS}", status=403)

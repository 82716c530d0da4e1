"""Is a candidate configuration sound? Looks at what changed and at what depends on it, not at everything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from avish.config.checked import Checked
from avish.config.checks import CHECKS
from avish.config.config import Body, Change, Config, title, uuid_in
from avish.config.dependents import dependents
from avish.config.engines import engines
from avish.config.wellknown import ADMIN_TENANT, VRF
from avish.errors import Issue
from avish.schema.model import Schema

REFERRERS_SHOWN = 20


def validate(schema: Schema, old: Config, new: Config, changes: Iterable[Change]) -> list[Issue]:
    """Errors and warnings of ``changes``, which lead from ``old`` to ``new``; of what depends on them, errors only."""
    changes = list(changes)
    issues: list[Issue] = []
    for change in changes:
        issues += _own_issues(schema, old, new, change)
    changed = {change.uuid for change in changes}
    looks = dict.fromkeys(look for change in changes for look in dependents(old, new, change))
    for kind, uuid, checks in looks:
        if uuid not in changed:
            issues += [issue for issue in _run(new, kind, uuid, checks) if issue.severity == "error"]
    return list(dict.fromkeys(issues))


def _own_issues(schema: Schema, old: Config, new: Config, change: Change) -> Iterator[Issue]:
    before, kind = old.get(change.type, change.uuid), schema.object(change.type)
    if change.body is None:
        if before is not None:
            yield from _delete_issues(schema, new, change.type, before)
        return
    if kind.singleton and change.uuid != kind.name:
        yield Issue(kind.word, f"there is always exactly one; change it with configure {kind.word}")
    name = change.body.get("name", "")
    if before is not None and before.get("name") != name and is_system_default(schema, change.type, before):
        yield Issue(title(change.type, before), "is a system default and keeps its name; make an object of your own")
    if change.type == VRF and before is not None and before["name"] != name:
        yield from _named_by_topology(new, before)
    lender = new.get(kind.names, f"{kind.names}-{change.uuid.partition('-')[2]}") or {} if kind.names else {}
    if kind.names and lender.get("name") != name and new.uuid_of(kind.names, name) is None:
        yield Issue(title(change.type, change.body), f"there is no {kind.names} {name!r}")
    if change.type == "serviceengine" and before is not None:
        yield from _last_of_its_group(old, new, before, change.body)
    yield from _run(new, change.type, change.uuid, kind.checks)


def _named_by_topology(new: Config, vrf: Body) -> Iterator[Issue]:
    """A VRF in which engines have interfaces has the name that the topology gives it."""
    there = sorted({engine.name for engine in engines(new) if engine.vrf_uuid == vrf["uuid"]})
    if there:
        where = f"{', '.join(there)} {'has' if len(there) == 1 else 'have'} interfaces in it by their topology"
        yield Issue(title(VRF, vrf), f"keeps its name: {where}; make a VRF of your own")


def _last_of_its_group(old: Config, new: Config, before: Body, after: Body) -> Iterator[Issue]:
    """An engine may not leave a group whose floating addresses nobody would hold then."""
    group = uuid_in(before.get("se_group_ref"))
    if group == uuid_in(after.get("se_group_ref")) or any(engine.group == group for engine in engines(new)):
        return
    for kind, uuid in new.referrers(group):
        service = new.get(kind, uuid) if kind == "networkservice" else None
        if service and service.get("routing_service", {}).get("floating_intf_ip"):
            name = (old.get("serviceenginegroup", group) or {}).get("name", "")
            yield Issue(
                f"{title('serviceengine', after)} se_group_ref",
                f"it is the last engine of {name}, and floating addresses of networkservice {service['name']} would "
                "be in no network of an engine; give the group another engine, or take those addresses out first",
            )


def _delete_issues(schema: Schema, new: Config, kind: str, body: Body) -> Iterator[Issue]:
    if schema.object(kind).singleton:
        yield Issue(title(kind, body), "Cannot delete: there is always exactly one")
    elif is_system_default(schema, kind, body):
        yield Issue(title(kind, body), "Cannot delete system default object")
    yield from still_referred(schema, new, body["uuid"])


def still_referred(schema: Schema, new: Config, uuid: str) -> Iterator[Issue]:
    """An issue when somebody refers to an object that is to be gone."""
    referrers = [(other, new.get(other, found)) for other, found in new.referrers(uuid)]
    names = sorted(f"{schema.object(other).title} {found['name']}" for other, found in referrers if found)
    if names:
        shown = repr(names[:REFERRERS_SHOWN])
        more = len(names) - REFERRERS_SHOWN
        yield Issue("", f"Cannot delete, object is referred by: {shown}" + (f" and {more} more" if more > 0 else ""))


def is_system_default(schema: Schema, kind: str, body: Body) -> bool:
    """Whether it is one of those a fresh store has; they keep their names and stay. A singleton has no name to keep."""
    if schema.object(kind).singleton or uuid_in(body.get("tenant_ref")) not in ("", ADMIN_TENANT):
        return False
    return any(default["name"] == body.get("name") for default in schema.defaults.get(kind, []))


def _run(config: Config, kind: str, uuid: str, checks: tuple[str, ...]) -> Iterator[Issue]:
    body = config.get(kind, uuid)
    if body is not None:
        checked = Checked(config, kind, body)
        for name in checks:
            yield from (replace(issue, check=name) for issue in CHECKS[name](checked))

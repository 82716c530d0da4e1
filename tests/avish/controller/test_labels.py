"""Roles that are about objects with certain labels."""

from __future__ import annotations

import pytest

POOL = "PERMISSION_POOL"


def role(rig, name, *filters, unlabelled=True, level="WRITE_ACCESS", resources=(POOL,)):
    rig.post(
        "role", name=name, privileges=[{"resource": one, "type": level} for one in resources],
        allow_unlabelled_access=unlabelled,
        filters=[{"name": str(n), "match_label": {"key": key, "values": list(values)}, "match_operation": operation}
                 for n, (key, values, operation) in enumerate(filters)],
    )  # fmt: skip


def pool(rig, name, **labels):
    markers = [{"key": key, "values": [value]} for key, value in labels.items()]
    return rig.post("pool", name=name, markers=markers)


@pytest.fixture
def pools(rig):
    for name, labels in {
        "prod": {"env": "prod"},
        "test": {"env": "test-1"},
        "other": {"site": "x"},
        "bare": {},
    }.items():
        pool(rig, name, **labels)
    return rig


def ask(rig, method, path, body=None, user="anna", **query):
    return rig.call(method, path, body, user=user, headers={"x-avi-tenant": "admin"}, **query)


def seen(rig, user="anna"):
    return sorted(one["name"] for one in ask(rig, "GET", "/api/pool", user=user).body["results"])


@pytest.mark.parametrize(
    ("operation", "values", "unlabelled", "expected"),
    [
        ("EQUALS", ["prod"], True, ["bare", "other", "prod"]),
        ("EQUALS", ["prod"], False, ["prod"]),
        ("DOES_NOT_EQUAL", ["prod"], False, ["test"]),
        ("GLOB_MATCH", ["test-?", "x"], False, ["test"]),
        ("GLOB_DOES_NOT_MATCH", ["test-*"], True, ["bare", "other", "prod"]),
        ("EQUALS", [], False, ["prod", "test"]),
    ],
)
def test_what_is_seen(pools, operation, values, unlabelled, expected):
    role(pools, "r", ("env", values, f"ROLE_FILTER_{operation}"), unlabelled=unlabelled)
    pools.post("user", name="anna", access=[{"role_ref": "r", "tenant_ref": "admin"}])
    assert seen(pools) == expected
    assert ask(pools, "GET", "/api/pool").body["count"] == len(expected)
    hidden = next(name for name in ("prod", "test", "other", "bare") if name not in expected)
    uuid = pools.one("pool", hidden)["uuid"]
    assert ask(pools, "GET", f"/api/pool/{uuid}").status == 404
    assert ask(pools, "GET", f"/api/pool/{uuid}/runtime").status == 404
    assert ask(pools, "DELETE", f"/api/pool/{uuid}").status == 404


@pytest.fixture
def anna(pools):
    """She has the pools of production, and may look at those of test."""
    role(pools, "prod", ("env", ["prod"], "ROLE_FILTER_EQUALS"), unlabelled=False)
    role(pools, "look", ("env", ["test-*"], "ROLE_FILTER_GLOB_MATCH"), unlabelled=False, level="READ_ACCESS")
    pools.post("user", name="anna", access=[{"role_ref": one, "tenant_ref": "admin"} for one in ("prod", "look")])
    return pools


def test_roles_add_up_each_with_its_own_filters(anna):
    assert seen(anna) == ["prod", "test"]
    prod, test = (anna.one("pool", name)["uuid"] for name in ("prod", "test"))
    assert ask(anna, "PATCH", f"/api/pool/{prod}", {"add": {"description": "x"}}).status == 200
    refused = ask(anna, "PATCH", f"/api/pool/{test}", {"add": {"description": "x"}})
    assert refused.status == 403
    assert (
        "has other labels than those that the roles want (env equals prod; env glob_match test-*)"
        in refused.body["error"]
    )


def test_what_is_made_or_changed_has_to_stay_hers(anna):
    assert ask(anna, "POST", "/api/pool", {"name": "new"}).status == 403
    labels = [{"key": "env", "values": ["prod"]}]
    made = ask(anna, "POST", "/api/pool", {"name": "new", "markers": labels})
    assert made.status == 201, made.body
    path = f"/api/pool/{made.body['uuid']}"
    assert ask(anna, "PATCH", path, {"replace": {"markers": [{"key": "env", "values": ["test-1"]}]}}).status == 403
    body = {"requests": [{"method": "POST", "path": "/api/pool", "body": {"name": "newer"}}]}
    assert ask(anna, "POST", "/api/transaction", body).status == 403
    assert ask(anna, "DELETE", path).status == 204


def test_a_filter_that_is_off_lets_everything_through(anna):
    for name in ("prod", "look"):
        found = anna.one("role", name)
        anna.change("role", name, filters=[{**one, "enabled": False} for one in found["filters"]])
    assert seen(anna) == ["bare", "other", "prod", "test"]


def test_what_the_system_came_with_is_there_for_all(rig):
    role(
        rig,
        "r",
        ("env", ["prod"], "ROLE_FILTER_EQUALS"),
        unlabelled=False,
        resources=(POOL, "PERMISSION_HEALTHMONITOR"),
    )
    rig.post("user", name="anna", access=[{"role_ref": "r", "tenant_ref": "admin"}])
    labels = [{"key": "env", "values": ["prod"]}]
    made = ask(rig, "POST", "/api/pool", {"name": "p", "markers": labels, "health_monitor_refs": ["System-TCP"]})
    assert made.status == 201, made.body
    assert ask(rig, "GET", "/api/tenant").status == 200


def test_a_right_for_some_labels_is_given_for_those_only(rig):
    rights = (POOL, "PERMISSION_USER", "PERMISSION_ROLE")
    prod = ("env", ["prod"], "ROLE_FILTER_EQUALS")
    role(rig, "own", prod, resources=rights)
    role(rig, "wide")
    role(rig, "narrow", prod, ("site", ["x"], "ROLE_FILTER_EQUALS"))
    rig.post("user", name="anna", access=[{"role_ref": "own", "all_tenants": True}])

    def give(name):
        return ask(rig, "POST", "/api/user", {"name": f"u-{name}", "access": [{"role_ref": name, "all_tenants": True}]})

    assert give("narrow").status == 201
    refused = give("wide")
    assert refused.status == 403
    assert "needs the same filters" in refused.body["error"]
    wider = {"name": "mine", "privileges": [{"resource": POOL, "type": "WRITE_ACCESS"}]}
    assert ask(rig, "POST", "/api/role", wider).status == 403

"""What may be done at a path: HEAD is GET without the body, and 405 says what is allowed."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("path", ["/api/pool", "/api/tenant/admin", "/api/systemconfiguration", "/api/audit"])
def test_head_answers_as_get_does(rig, path):
    asked = rig.call("HEAD", path)
    assert asked.status == rig.call("GET", path).status == 200
    assert asked.stream is None


def test_head_follows_nothing(rig):
    answer = rig.call("HEAD", "/api/notices")
    assert (answer.status, answer.stream) == (200, None)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/systemconfiguration", "GET, PUT, PATCH, HEAD"),
        ("POST", "/api/tenant/admin", "GET, PUT, PATCH, DELETE, HEAD"),
        ("TRACE", "/api/pool", "GET, PUT, PATCH, DELETE, POST, HEAD"),
        ("DELETE", "/api/audit", "GET, HEAD"),
        ("GET", "/login", "POST"),
        ("GET", "/api/rollback", "POST"),
    ],
)
def test_what_is_not_allowed_says_what_is(rig, method, path, allowed):
    answer = rig.call(method, path)
    assert (answer.status, answer.headers["Allow"]) == (405, allowed)


def test_so_do_actions(rig):
    uuid = rig.one("serviceengine", "se1")["uuid"]
    answer = rig.call("GET", f"/api/serviceengine/{uuid}/switchover")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    answer = rig.call("POST", f"/api/serviceengine/{uuid}/arptable")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")

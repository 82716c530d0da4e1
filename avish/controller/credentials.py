"""A password inside the body of a user never becomes part of the configuration: a mark stands there in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from avish.config.transaction import Refused
from avish.controller import passwords
from avish.controller.accounts import Accounts
from avish.controller.writes import Write
from avish.errors import Issue, ValidationError
from avish.schema.types import SENSITIVE

MARK = "set"


def without_password(accounts: Accounts, write: Write | Refused) -> tuple[Write | Refused, str]:
    """The write with the mark in place of a new password, and the hash of that; "" when it sets none."""
    if isinstance(write, Refused) or write.kind.name != "user":
        return write, ""
    if _patches_password(write.body):
        text = 'is set with {"replace": {"password": ..}}, not by a json_patch'
        return Refused((Issue("password", text),), 400), ""
    found = _password(write.body)
    if not found:
        return write, ""
    try:
        accounts.check_password(_user(accounts, write), found)
    except ValidationError as error:
        return Refused((Issue("password", str(error)),), error.http_status), ""
    return replace(write, body=_marked(write.body)), passwords.hashed(found)


def _patches_password(body: Any) -> bool:
    steps = body.get("json_patch") if isinstance(body, dict) else None
    return isinstance(steps, list) and any(isinstance(one, dict) and one.get("path") == "/password" for one in steps)


def _user(accounts: Accounts, write: Write) -> dict[str, Any]:
    body = write.body if isinstance(write.body, dict) else {}
    existing = accounts.config().get("user", write.uuid) if write.uuid else None
    return existing or {"uuid": write.uuid, "name": str(body.get("name", "")), **_profile(body)}


def _profile(body: dict[str, Any]) -> dict[str, Any]:
    return {"user_profile_ref": body["user_profile_ref"]} if isinstance(body.get("user_profile_ref"), str) else {}


def _password(body: Any) -> str:
    """The new password in a body, also in one of a PATCH; "" for none."""
    for fields in _levels(body):
        value = fields.get("password")
        if isinstance(value, str) and value and value not in (SENSITIVE, MARK):
            return value
    return ""


def _levels(body: Any) -> list[dict[str, Any]]:
    if not isinstance(body, dict):
        return []
    return [body, *(body[verb] for verb in ("add", "replace") if isinstance(body.get(verb), dict))]


def _marked(body: dict[str, Any]) -> dict[str, Any]:
    marked = {**body, "password": MARK} if "password" in body else dict(body)
    for verb in ("add", "replace"):
        if isinstance(marked.get(verb), dict) and "password" in marked[verb]:
            marked[verb] = {**marked[verb], "password": MARK}
    return marked

"""What goes along with changes of users and roles: nobody gives rights he has not, passwords and sessions follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from avish.config.config import Body, Change, Config
from avish.config.transaction import Prepared
from avish.controller.access import Caller, Scope, caller_of, granted
from avish.controller.accounts import Accounts
from avish.controller.commit import Effect, Outcome
from avish.controller.debug import CaptureSwitch
from avish.controller.labels import ALL, Grant
from avish.errors import ValidationError

NONE: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True)
class Effects:
    """What goes along with every change that somebody makes."""

    switch: CaptureSwitch
    accounts: Accounts

    def of(self, scope: Scope, hashes: Mapping[int, str] = NONE) -> Guarded:
        """With one change. ``hashes``: those of new passwords, by the number of the request that sets one."""
        return Guarded(self.switch.effect(scope.caller.name), scope, self.accounts, hashes)


@dataclass
class Guarded:
    """An Effect around another one: refuses escalation before; new passwords are kept with the users they belong to,
    the credentials of deleted users forgotten after.
    """

    inner: Effect
    scope: Scope
    accounts: Accounts
    hashes: Mapping[int, str] = field(default_factory=dict)

    @property
    def caller(self) -> Caller:
        """Who makes the change."""
        return self.scope.caller

    def judge(self, prepared: Prepared) -> None:
        """Refuse rights that the caller does not have himself, and objects that his roles say nothing of."""
        for change in prepared.changes:
            if change.type == "user" and change.body is not None:
                self._login_name(prepared.config, change.body)
        if not self.caller.superuser:
            for change in prepared.changes:
                self._judge(prepared.config, change)
            for uuid in self._new(prepared.written):
                self._judge_password(prepared.config, uuid)
            for kind, uuid in prepared.written:
                if (body := prepared.config.get(kind, uuid)) is not None:
                    self.scope.require_labels(kind, body)
        self.inner.judge(prepared)

    def begin(self, prepared: Prepared) -> None:
        """Nothing of its own."""
        self.inner.begin(prepared)

    def notes(self, prepared: Prepared) -> Mapping[str, Any]:
        """The records of users with new passwords."""
        return {**self.accounts.renewed(self._new(prepared.written)), **self.inner.notes(prepared)}

    def undo(self) -> None:
        """The change was refused."""
        self.inner.undo()

    def settle(self, outcome: Outcome) -> None:
        """The change is kept."""
        self.inner.settle(outcome)
        self.accounts.kept(self._new(outcome.written))
        for change in outcome.changes:
            if change.type == "user" and change.body is None:
                self.accounts.forget(change.uuid)

    def _new(self, written: Sequence[tuple[str, str]]) -> dict[str, str]:
        """The hashes by the uuids of their users."""
        return {written[number][1]: hashed for number, hashed in self.hashes.items()}

    def _judge_password(self, config: Config, uuid: str) -> None:
        """Who sets the password of somebody can act as him: only within his own rights, as if he gave them."""
        user = config.get("user", uuid)
        if user is None or user["name"] == self.caller.name:
            return
        self._spare_superusers(user)
        self._within(config, caller_of(config, user).access)
        self._narrow(granted(config, user))

    def _spare_superusers(self, *users: Body) -> None:
        if any(user.get("is_superuser") for user in users):
            raise ValidationError(f"{self.caller.name} is no superuser: only those make or change one", status=403)

    def _login_name(self, config: Config, body: Body) -> None:
        """Refuse a user who would not be told from another one by the name he logs in with."""
        before, name = self.accounts.config().get("user", body["uuid"]) or {}, str(body["name"])
        username = str(body.get("username") or name)
        if username != name and before.get("username") != username:
            raise ValidationError(
                f"user {name} username: {username} is not his name; one logs in by the name, so give it"
            )
        twins = [other for other in config.all("user") if str(other["name"]).casefold() == name.casefold()]
        other = next((str(one["name"]) for one in twins if one["uuid"] != body["uuid"]), None)
        if other is not None and before.get("name") != name:
            raise ValidationError(
                f"user {name}: there is {other} already, whom only capitals tell from him; choose another"
            )

    def _judge(self, config: Config, change: Change) -> None:
        old = self.accounts.config()
        before = old.get(change.type, change.uuid) or {}
        if change.type == "user":
            if before and before["name"] != self.caller.name:
                self._within(old, caller_of(old, before).access)  # who may more is neither changed nor deleted
            self._spare_superusers(before, change.body or {})
        if change.body is not None and change.type == "user":
            self._within(config, caller_of(config, change.body).access)
            self._narrow(granted(config, change.body))
        elif change.body is not None and change.type == "role":
            self._within(config, {ALL: dict(_role(config, change.body))})
            self._narrow(granted(config, _everywhere(change.body)))

    def _within(self, config: Config, access: Any) -> None:
        for tenant, table in access.items():
            own = Caller(self.caller.name, access={ALL: self.caller.access.get(ALL, {})})
            mine = own if tenant == ALL else self.caller
            more = [name for name, level in table.items() if level > mine.level(name, tenant)]
            if not more and not {tenant, ALL} & set(self.caller.access):
                more = ["access"]
            if more:
                named = str((config.get("tenant", tenant) or {"name": tenant})["name"])
                where = "all tenants" if tenant == ALL else f"tenant {named}"
                missing = f"no {', '.join(sorted(more)[:3])} in {where}"
                text = f"{self.caller.name} has {missing} himself and cannot give it"
                raise ValidationError(text, status=403)

    def _narrow(self, given: Iterable[Grant]) -> None:
        """Who has a right for some labels only gives it for those only."""
        for grant in given if self.caller.grants else ():
            own = [one for one in self.caller.grants if one.tenant in (grant.tenant, ALL) and one.holds(grant)]
            more = [
                name for name, level in grant.levels.items() if level > max((one.level(name) for one in own), default=0)
            ]
            if more:
                text = f"{self.caller.name} has {', '.join(sorted(more)[:3])} for objects with some labels only"
                raise ValidationError(f"{text}: a role that gives it needs the same filters", status=403)


def _role(config: Config, role: Body) -> Any:
    return caller_of(config, _everywhere(role)).access[ALL].items()


def _everywhere(role: Body) -> Body:
    """A user that has a role in all tenants."""
    return {"name": "", "access": [{"all_tenants": True, "role_ref": f"/api/role/{role['uuid']}"}]}

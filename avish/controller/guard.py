"""What goes along with changes of users and roles: nobody gives rights he has not, passwords and sessions follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from avish.config.config import Body, Change, Config
from avish.config.transaction import Prepared
from avish.controller.access import ALL, Caller, caller_of
from avish.controller.accounts import Accounts
from avish.controller.commit import Effect, Outcome
from avish.controller.debug import CaptureSwitch
from avish.errors import ValidationError

NONE: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True)
class Effects:
    """What goes along with every change that somebody makes."""

    switch: CaptureSwitch
    accounts: Accounts

    def of(self, caller: Caller, hashes: Mapping[int, str] = NONE) -> Guarded:
        """With one change. ``hashes``: those of new passwords, by the number of the request that sets one."""
        return Guarded(self.switch.effect(caller.name), caller, self.accounts, hashes)


@dataclass
class Guarded:
    """An Effect around another one: refuses escalation before; new passwords are kept with the users they belong to,
    the credentials of deleted users forgotten after.
    """

    inner: Effect
    caller: Caller
    accounts: Accounts
    hashes: Mapping[int, str] = field(default_factory=dict)

    def judge(self, prepared: Prepared) -> None:
        """Refuse rights that the caller does not have himself."""
        if not self.caller.superuser:
            for change in prepared.changes:
                self._judge(prepared.config, change)
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

    def _judge(self, config: Config, change: Change) -> None:
        before = self.accounts.config().get(change.type, change.uuid) or {}
        for body in (before, change.body or {}):
            if change.type == "user" and body.get("is_superuser"):
                raise ValidationError(f"{self.caller.name} is no superuser: only those make or change one", status=403)
        if change.body is not None and change.type == "user":
            self._within(caller_of(config, change.body).access)
        elif change.body is not None and change.type == "role":
            self._within({ALL: dict(_role(config, change.body))})

    def _within(self, access: Any) -> None:
        for tenant, table in access.items():
            own = Caller(self.caller.name, access={ALL: self.caller.access.get(ALL, {})})
            mine = own if tenant == ALL else self.caller
            more = [name for name, level in table.items() if level > mine.level(name, tenant)]
            if not more and not {tenant, ALL} & set(self.caller.access):
                more = ["access to the tenant"]
            if more:
                text = f"{self.caller.name} has no {', '.join(sorted(more)[:3])} himself and cannot give it"
                raise ValidationError(text, status=403)


def _role(config: Config, role: Body) -> Any:
    as_user = {"name": "", "access": [{"all_tenants": True, "role_ref": f"/api/role/{role['uuid']}"}]}
    return caller_of(config, as_user).access[ALL].items()

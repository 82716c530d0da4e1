"""What goes along with a commit: passwords, captures and those who are told of it."""

from __future__ import annotations

import pytest

from avish.controller.rehearsals import CHANGES, KEPT, Rehearsals
from avish.errors import ApplyError, ValidationError

PASSWORD = "Correct horse battery 1"  # of nobody


def user(rig, **more):
    return rig.call("POST", "/api/user", {"name": "anna", "username": "anna", **more})


class TestBehindACommit:
    @pytest.mark.parametrize("broken", ["told", "settle", "kept"])
    def test_a_change_that_is_done_is_no_failure(self, rig, monkeypatch, broken):
        def fails(*_, **__):
            raise OSError("no space left")

        committer = rig.controller.committer
        if broken == "told":
            committer.told.insert(0, fails)
        elif broken == "settle":
            monkeypatch.setattr("avish.controller.debug.CaptureEffect.settle", fails)
        else:
            monkeypatch.setattr("avish.controller.confirm.Confirmations.kept", fails)
        reached = []
        committer.told.append(lambda outcome, _: reached.append(outcome))
        answer = rig.call("POST", "/api/pool", {"name": "p"})
        assert answer.status == 201
        assert "the change is done, but not all that goes along with it: no space left" in answer.headers[
            "X-Avish-Warnings"
        ]  # fmt: skip
        assert len(reached) == 1
        assert rig.one("pool", "p")


class TestPasswords:
    def test_kept_in_the_same_step_as_the_user(self, rig, monkeypatch):
        steps = []
        store = rig.controller.store
        commit, keep = store.commit, store.keep
        monkeypatch.setattr(store, "commit", lambda n, notes: (steps.append(sorted(notes)), commit(n, notes)))
        monkeypatch.setattr(store, "keep", lambda notes: (steps.append("apart"), keep(notes)))
        made = user(rig, password=PASSWORD)
        assert made.status == 201
        assert steps == [[f"account/{made.body['uuid']}"]]
        assert rig.controller.accounts.log_in("anna", PASSWORD, "test")["name"] == "anna"

    def test_a_store_that_refuses_keeps_neither(self, rig, monkeypatch):
        def full(*_):
            raise ApplyError("the disk is full")

        uuid = user(rig, password=PASSWORD).body["uuid"]
        monkeypatch.setattr(rig.controller.store, "commit", full)
        body = {"replace": {"password": "Another long password 2", "full_name": "A"}}
        assert rig.call("PATCH", f"/api/user/{uuid}", body).status == 422
        monkeypatch.undo()
        assert rig.controller.accounts.log_in("anna", PASSWORD, "test")["name"] == "anna"

    def test_a_password_alone_is_kept_too(self, rig):
        uuid = user(rig, password=PASSWORD).body["uuid"]
        assert rig.call("PATCH", f"/api/user/{uuid}", {"replace": {"password": "Another long one 3"}}).status == 200
        assert rig.controller.accounts.log_in("anna", "Another long one 3", "test")["name"] == "anna"

    def test_of_several_in_a_transaction(self, rig):
        bodies = [{"name": n, "username": n, "password": f"{n} {PASSWORD}"} for n in ("eva", "ida")]
        wanted = [{"method": "POST", "path": "/api/pool", "body": {"name": "p"}}]
        wanted += [{"method": "POST", "path": "/api/user", "body": body} for body in bodies]
        assert rig.call("POST", "/api/transaction", {"requests": wanted}).status == 200
        for name in ("eva", "ida"):
            assert rig.controller.accounts.log_in(name, f"{name} {PASSWORD}", "test")["name"] == name


def test_who_is_taken_back_leaves_no_credentials(rig):
    """Also when it is the commit's own promise, and nobody rolls back."""
    made = rig.call("POST", "/api/user", {"name": "anna", "username": "anna", "password": PASSWORD}, confirm="5")
    accounts, uuid = rig.controller.accounts, made.body["uuid"]
    assert accounts.record(uuid)
    assert rig.call("DELETE", "/api/confirm").status == 200
    assert not accounts.record(uuid)


def test_a_dry_run_says_what_the_guard_will(rig):
    """Nobody gives rights that he has not, and is not told that he may."""
    role = rig.one("role", "Tenant-Admin")["url"]
    access = [{"tenant_ref": "/api/tenant/admin", "role_ref": role}]
    assert user(rig, access=access).status == 201
    body = {"name": "eve", "username": "eve", "is_superuser": True}
    done = rig.call("POST", "/api/user", body, user="anna")
    rehearsed = rig.call("POST", "/api/user", body, user="anna", dryrun="1")
    assert (rehearsed.status, rehearsed.body["error"]) == (done.status, done.body["error"])
    assert done.status == 403


class TestRehearsals:
    def test_kept_by_their_changes(self, rig):
        kept = Rehearsals()
        small = [kept.keep(rig.head, "anna", 1) for _ in range(KEPT)]
        other = kept.keep(rig.head, "bob", 1)
        big = kept.keep(rig.head, "anna", CHANGES - 2)
        assert kept.candidate(big)
        assert [token for token in small if self.known(kept, token)] == small[-2:]
        assert kept.candidate(other)

    def test_the_newest_stays_whatever_its_size(self, rig):
        kept = Rehearsals()
        tokens = [kept.keep(rig.head, user, 10 * CHANGES) for user in ("anna", "bob", "bob")]
        assert [self.known(kept, token) for token in tokens] == [False, False, True]

    def test_one_that_goes_on_counts_what_it_goes_on_from(self, rig):
        kept = Rehearsals()
        first = kept.keep(rig.head, "anna", CHANGES // 2)
        second = kept.keep(rig.head, "anna", 1, first)
        assert [self.known(kept, token) for token in (first, second)] == [False, True]

    @staticmethod
    def known(kept, token):
        try:
            return bool(kept.candidate(token))
        except ValidationError:
            return False

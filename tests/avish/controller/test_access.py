from __future__ import annotations

import json

import pytest

from avish.controller.wanted import wanted


@pytest.fixture
def people(rig):
    """Tenant blue; anna administers applications there, olga only looks, root may all."""
    rig.post("tenant", name="blue")
    rig.post(
        "user", name="anna", access=[{"role_ref": "Application-Admin", "tenant_ref": "blue"}], default_tenant_ref="blue"
    )
    rig.post("user", name="olga", access=[{"role_ref": "Application-Operator", "all_tenants": True}])
    return rig


def ask(rig, user, method, path, body=None, tenant="blue", **query):
    return rig.call(method, path, body, user=user, headers={"x-avi-tenant": tenant}, **query)


def names(answer):
    assert answer.status == 200, answer.body
    return [one["name"] for one in answer.body["results"]]


class TestRoles:
    def test_what_a_role_gives_is_allowed(self, people):
        made = ask(people, "anna", "POST", "/api/pool", {"name": "web"})
        assert made.status == 201, made.body
        assert made.body["tenant_ref"].endswith("#blue")
        assert (
            ask(people, "anna", "PATCH", f"/api/pool/{made.body['uuid']}", {"add": {"description": "x"}}).status == 200
        )
        assert ask(people, "anna", "DELETE", f"/api/pool/{made.body['uuid']}").status == 204

    @pytest.mark.parametrize(
        ("user", "method", "path", "missing"),
        [
            ("anna", "GET", "/api/user", "READ_ACCESS of PERMISSION_USER in tenant blue"),
            ("anna", "POST", "/api/tenant", "WRITE_ACCESS of PERMISSION_TENANT"),
            ("anna", "PATCH", "/api/systemconfiguration", "WRITE_ACCESS of PERMISSION_SYSTEMCONFIGURATION"),
            ("anna", "POST", "/api/rollback", "WRITE_ACCESS of PERMISSION_CONTROLLER"),
            ("anna", "GET", "/api/audit", "READ_ACCESS of PERMISSION_CONTROLLER"),
            ("olga", "POST", "/api/pool", "WRITE_ACCESS of PERMISSION_POOL"),
            ("olga", "GET", "/api/role", "READ_ACCESS of PERMISSION_ROLE"),
            ("olga", "PUT", "/api/avish/account/anna", "WRITE_ACCESS of PERMISSION_USER"),
        ],
    )
    def test_a_refusal_names_the_permission(self, people, user, method, path, missing):
        answer = ask(people, user, method, path, {"name": "x", "to": 1, "replace": {"uuid": "x"}})
        assert answer.status == 403
        assert missing in answer.body["error"]

    def test_a_transaction_is_judged_write_by_write(self, people):
        requests = [
            {"method": "POST", "path": "/api/pool", "body": {"name": "p"}},
            {"method": "POST", "path": "/api/tenant", "body": {"name": "t"}},
        ]
        answer = ask(people, "anna", "POST", "/api/transaction", {"requests": requests})
        assert answer.status == 403
        assert "PERMISSION_TENANT" in answer.body["error"]
        assert names(ask(people, "anna", "GET", "/api/pool")) == []

    def test_the_role_is_looked_at_each_time(self, people):
        assert ask(people, "olga", "GET", "/api/pool").status == 200
        people.change("user", "olga", access=[])
        assert ask(people, "olga", "GET", "/api/pool").status == 403
        people.change("user", "olga", is_active=False)
        assert ask(people, "olga", "GET", "/api/pool").status == 401

    def test_nobody_gives_what_he_has_not(self, people):
        people.post("role", name="hr", privileges=[{"resource": "PERMISSION_USER", "type": "WRITE_ACCESS"}])
        people.post("user", name="hank", access=[{"role_ref": "hr", "all_tenants": True}])

        def make(**fields):
            return ask(people, "hank", "POST", "/api/user", {"name": "new", **fields}, tenant="admin")

        assert make(is_superuser=True).status == 403
        refused = make(access=[{"role_ref": "System-Admin", "tenant_ref": "admin"}])
        assert (refused.status, "cannot give it" in refused.body["error"]) == (403, True)
        assert "PERMISSION_ALERT" in refused.body["error"]
        assert "in tenant admin himself" in refused.body["error"]
        everywhere = make(access=[{"role_ref": "System-Admin", "all_tenants": True}])
        assert "in all tenants himself" in everywhere.body["error"]
        assert make(access=[{"role_ref": "hr", "tenant_ref": "blue"}]).status == 201
        assert ask(people, "hank", "PUT", "/api/avish/account/admin", {"password": "x" * 12}).status == 403
        assert (
            ask(people, "hank", "PATCH", "/api/user/user-admin", {"add": {"email": "x"}}, tenant="admin").status == 403
        )

    def test_nobody_takes_over_who_may_more(self, people):
        people.post("role", name="hr", privileges=[{"resource": "PERMISSION_USER", "type": "WRITE_ACCESS"}])
        people.post("user", name="hank", access=[{"role_ref": "hr", "all_tenants": True}])
        people.post("user", name="peer", access=[{"role_ref": "hr", "tenant_ref": "admin"}])
        people.post("user", name="sys", access=[{"role_ref": "System-Admin", "all_tenants": True}])

        def change(name, method="PATCH", body=None):
            path = f"/api/user/{people.one('user', name)['uuid']}"
            return ask(people, "hank", method, path, body, tenant="admin")

        password = {"replace": {"password": "Hack-12345!z"}}
        assert change("peer", body=password).status == 200
        assert change("hank", body=password).status == 200
        refused = change("sys", body=password)
        assert (refused.status, "cannot give it" in refused.body["error"]) == (403, True)
        assert change("sys", body={"replace": {"full_name": "x"}}).status == 403
        assert change("sys", body={"replace": {"access": []}}).status == 403
        assert change("sys", "DELETE").status == 403
        assert change("peer", "DELETE").status == 204
        step = {"op": "replace", "path": "/password", "value": "CANARY-patched"}
        patched = change("hank", body={"json_patch": [step]})
        assert (patched.status, "CANARY" in str(patched.body)) == (400, False)


class TestLoginNames:
    def test_the_name_is_what_one_logs_in_by(self, people):
        answer = people.call("POST", "/api/user", {"name": "Lou", "username": "luke"})
        assert answer.status == 400
        assert "user Lou username: luke is not his name" in answer.body["error"]
        people.post("user", name="luke", username="luke")

    def test_two_that_only_capitals_tell_apart_are_refused(self, people):
        answer = people.call("POST", "/api/user", {"name": "ANNA"})
        assert answer.status == 400
        assert "there is anna already" in answer.body["error"]
        people.change("user", "anna", email="anna@example.org")

    def test_the_url_of_what_has_no_name_ends_with_its_uuid(self, people):
        url = people.call("GET", "/api/systemconfiguration").body["url"]
        assert url.endswith("/api/systemconfiguration/systemconfiguration")


class TestTheWhole:
    """What is about the whole controller takes rights in the tenant that is always there."""

    @pytest.fixture
    def local(self, people):
        """The administrator of one tenant."""
        people.change("user", "anna", access=[{"role_ref": "System-Admin", "tenant_ref": "blue"}])
        people.post("pool", name="secret-pool")
        return people

    @pytest.mark.parametrize("tenant", ["blue", "*"])
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "/api/configuration/export", None),
            ("POST", "/api/configuration/import", {"Pool": [{"name": "foreign"}]}),
            ("POST", "/api/rollback", {"to": 1}),
            ("GET", "/api/commits", None),
            ("GET", "/api/commits/1", None),
            ("GET", "/api/compare", None),
            ("POST", "/api/tech-support", {}),
            ("GET", "/api/audit", None),
            ("GET", "/api/avish/check", None),
            ("GET", "/api/events", None),
        ],
    )
    def test_who_administers_a_tenant_does_not_reach_the_others(self, local, method, path, body, tenant):
        before = local.head.config.revision
        answer = ask(local, "anna", method, path, body, tenant=tenant)
        assert answer.status == 403
        assert "in tenant admin is missing" in answer.body["error"]
        assert local.head.config.revision == before

    def test_who_administers_all_of_them_does(self, local):
        local.change("user", "anna", access=[{"role_ref": "System-Admin", "all_tenants": True}])
        assert "Pool" in ask(local, "anna", "GET", "/api/configuration/export").body
        assert ask(local, "anna", "GET", "/api/commits").status == 200


class TestConfirm:
    def pending(self, people, user="anna"):
        made = ask(people, user, "POST", "/api/pool", {"name": "web"}, confirm="10")
        assert made.status == 201, made.body

    def test_who_committed_confirms(self, people):
        self.pending(people)
        assert ask(people, "anna", "POST", "/api/confirm").status == 200
        assert people.get("/api/confirm")["pending"] is None

    def test_and_takes_it_back(self, people):
        self.pending(people)
        assert ask(people, "anna", "DELETE", "/api/confirm").status == 200
        assert names(ask(people, "anna", "GET", "/api/pool")) == []

    def test_nobody_else_does_without_the_controllers_permission(self, people):
        people.post("user", name="bert", access=[{"role_ref": "Application-Admin", "tenant_ref": "blue"}])
        self.pending(people)
        for method in ("POST", "DELETE"):
            assert ask(people, "bert", method, "/api/confirm").status == 403
        assert ask(people, "admin", "POST", "/api/confirm").status == 200


class TestTenants:
    def test_names_are_unique_within_a_tenant_only(self, people):
        people.post("pool", name="web")
        assert ask(people, "anna", "POST", "/api/pool", {"name": "web"}).status == 201
        twice = ask(people, "anna", "POST", "/api/pool", {"name": "web"})
        assert (twice.status, "of this name already" in twice.body["error"]) == (409, True)

    def test_each_sees_his_own_and_what_the_system_came_with(self, people):
        mine = people.post("pool", name="mine")
        assert names(ask(people, "anna", "GET", "/api/pool")) == []
        assert ask(people, "anna", "GET", f"/api/pool/{mine['uuid']}").status == 404
        assert ask(people, "anna", "DELETE", f"/api/pool/{mine['uuid']}").status == 404
        assert "System-TCP" in names(ask(people, "anna", "GET", "/api/healthmonitor"))
        assert names(ask(people, "anna", "GET", "/api/serviceengine")) == ["se1", "se2"]
        assert names(ask(people, "anna", "GET", "/api/tenant")) == ["blue"]

    def test_what_is_shared_is_not_changed_from_a_tenant(self, people):
        system = people.one("healthmonitor", "System-TCP")
        people.change("user", "anna", access=[{"role_ref": "System-Admin", "tenant_ref": "blue"}])
        answer = ask(people, "anna", "PUT", f"/api/healthmonitor/{system['uuid']}", {**system, "send_interval": 7})
        assert (answer.status, "belongs to another tenant" in answer.body["error"]) == (403, True)

    def test_references_find_the_own_object_first(self, people):
        people.post("healthmonitor", name="hm", type="HEALTH_MONITOR_TCP")
        own = ask(people, "anna", "POST", "/api/healthmonitor", {"name": "hm", "type": "HEALTH_MONITOR_TCP"}).body
        body = {"name": "p", "health_monitor_refs": ["hm", "/api/healthmonitor?name=System-Ping"]}
        pool = ask(people, "anna", "POST", "/api/pool", body).body
        assert pool["health_monitor_refs"][0] == own["url"]
        assert pool["health_monitor_refs"][1].endswith("#System-Ping")

    def test_profiles_of_the_provider_are_for_all_and_what_forwards_is_not(self, people):
        people.post("healthmonitor", name="shared", type="HEALTH_MONITOR_TCP")
        pool = people.post("pool", name="admins")
        assert "shared" in names(ask(people, "anna", "GET", "/api/healthmonitor"))
        made = ask(people, "anna", "POST", "/api/pool", {"name": "p", "health_monitor_refs": ["shared"]})
        assert made.status == 201, made.body
        for ref in ("admins", pool["uuid"], pool["url"], "/api/pool?name=admins"):
            body = {"name": "g", "members": [{"pool_ref": ref}]}
            refused = ask(people, "anna", "POST", "/api/poolgroup", body)
            assert refused.status == 400, ref
            assert "admins" not in ref or "that of tenant admin is for admin alone" in refused.body["error"]
        assert (
            ask(people, "anna", "POST", "/api/poolgroup", {"name": "g", "members": [{"pool_ref": "p"}]}).status == 201
        )

    def test_nothing_refers_into_another_tenant(self, people):
        made = ask(people, "anna", "POST", "/api/healthmonitor", {"name": "hm", "type": "HEALTH_MONITOR_TCP"}).body
        refused = people.call("POST", "/api/pool", {"name": "p", "health_monitor_refs": [made["uuid"]]})
        assert refused.status == 400

    def test_the_view_of_all_only_shows(self, people):
        people.post("pool", name="a")
        ask(people, "anna", "POST", "/api/pool", {"name": "b"})
        assert names(ask(people, "admin", "GET", "/api/pool", tenant="*")) == ["a", "b"]
        assert names(ask(people, "anna", "GET", "/api/pool", tenant="*")) == ["b"]
        assert ask(people, "admin", "POST", "/api/pool", {"name": "c"}, tenant="*").status == 403

    def test_only_those_may_enter_who_are_let_in(self, people):
        assert ask(people, "anna", "GET", "/api/pool", tenant="admin").status == 403
        assert ask(people, "anna", "GET", "/api/pool", tenant="none").status == 404
        assert ask(people, "olga", "GET", "/api/pool", tenant="admin").status == 200

    def test_a_tenant_with_objects_stays(self, people):
        ask(people, "anna", "POST", "/api/pool", {"name": "b"})
        answer = people.call("DELETE", f"/api/tenant/{people.one('tenant', 'blue')['uuid']}")
        assert "Pool b" in answer.body["error"]


class TestAudit:
    def test_changes_and_refusals_are_written_down(self, people):
        ask(people, "anna", "POST", "/api/tenant", {"name": "t"})
        answer = ask(people, "anna", "POST", "/api/pool", {"name": "p"})
        change, refused = [one for one in people.get("/api/audit")["results"] if one["user"] == "anna"]
        assert (change["event"], change["path"], change["tenant"] != "admin") == ("change", "/api/pool", True)
        assert change["request"] == answer.headers["X-Avish-Request"]
        assert refused["event"] == "refused"
        assert "PERMISSION_TENANT" in refused["reason"]

    def test_the_chain_holds_and_a_change_breaks_it(self, people):
        path = people.home.audit
        assert people.get("/api/avish/check")["consistent"]
        lines = path.read_text().splitlines(keepends=True)
        forged = json.loads(lines[1])
        forged["user"] = "somebody"
        path.write_text("".join([lines[0], json.dumps(forged) + "\n", *lines[2:]]))
        assert "entry 2 was changed" in people.get("/api/avish/check")["store"][0]
        path.write_text("".join(lines[:-1]))
        assert "were written" in people.get("/api/avish/check")["store"][0]
        path.write_text("".join(lines[1:]))
        assert "entry 1 was changed, or one before it is missing" in people.get("/api/avish/check")["store"][0]

    def test_it_goes_on_after_a_restart_and_a_torn_line(self, people):
        people.controller.audit.anchor()
        with people.home.audit.open("a") as file:
            file.write('{"n": 99, "torn')
        people.restart()
        people.post("pool", name="p")
        assert people.get("/api/avish/check")["consistent"]

    def test_cutting_the_end_off_while_nothing_runs_is_noticed(self, people):
        people.controller.audit.anchor()
        people.close()
        lines = people.home.audit.read_text().splitlines(keepends=True)
        people.home.audit.write_text("".join(lines[:1]))
        people.start()
        assert "were written" in people.get("/api/avish/check")["store"][0]

    def test_strangers_do_not_fill_it(self, people):
        people.controller.audit._clock = lambda: 1_800_000_000.0
        before = people.controller.audit.head[0]
        for _ in range(50):
            assert people.call("GET", "/api/pool", user="").status == 403
        assert people.controller.audit.head[0] == before + 1
        people.controller.audit._clock = lambda: 1_800_000_002.0
        people.call("GET", "/api/pool", user="")
        assert people.get("/api/audit")["results"][0]["left_out"] == 49


class TestPasswords:
    def test_a_password_is_nowhere_in_clear(self, people, tmp_path):
        people.change("user", "anna", password="Canary-7f3a9")
        assert people.one("user", "anna")["password"] == "<sensitive>"
        people.restart()
        for path in people.home.path.rglob("*"):
            if path.is_file():
                assert b"Canary-7f3a9" not in path.read_bytes(), path
        assert people.controller.accounts.log_in("anna", "Canary-7f3a9", "test")["name"] == "anna"

    def test_it_is_kept_before_anybody_else_commits(self, people):
        accounts, seen = people.controller.accounts, []

        def told(outcome, who):
            seen.extend(accounts.record(change.uuid).get("password", "") for change in outcome.changes)

        people.controller.committer.told.append(told)
        people.post("user", name="nora", password="Canary-7f3a9")
        requests = [{"method": "POST", "path": "/api/pool", "body": {"name": "p"}},
                    {"method": "POST", "path": "/api/user", "body": {"name": "otto", "password": "Canary-8f3a9"}}]  # fmt: skip
        assert people.call("POST", "/api/transaction", {"requests": requests}).status == 200
        assert [bool(one) for one in seen] == [True, False, True]
        assert accounts.log_in("otto", "Canary-8f3a9", "test")["name"] == "otto"

    def test_the_same_body_again_keeps_it(self, people):
        people.change("user", "anna", password="Canary-7f3a9")
        people.change("user", "anna", full_name="Anna")
        assert people.controller.accounts.log_in("anna", "Canary-7f3a9", "test")["full_name"] == "Anna"

    def test_weak_and_used_ones_are_refused(self, people):
        people.post("useraccountprofile", name="strict", max_password_history_count=2)
        people.change("user", "anna", user_profile_ref="strict")
        assert "at least 8" in people.change("user", "anna", password="short").body["error"]
        for word in ("first-word-1", "second-word-2"):
            assert people.change("user", "anna", password=word).status == 200
        assert "last 2 passwords" in people.change("user", "anna", password="first-word-1").body["error"]

    def test_who_goes_takes_his_credentials_along(self, people):
        people.change("user", "anna", password="Canary-7f3a9")
        uuid = people.one("user", "anna")["uuid"]
        assert people.call("DELETE", f"/api/user/{uuid}").status == 204
        assert people.controller.store.note(f"account/{uuid}") is None
        people.post("user", name="anna", is_superuser=True)
        with pytest.raises(Exception, match="Invalid credentials"):
            people.controller.accounts.log_in("anna", "Canary-7f3a9", "test")


class TestWhatIsTheProviders:
    """tina administers tenant blue and nothing else; engines are of tenant admin and carry the traffic of everybody."""

    @pytest.fixture
    def engine(self, people):
        access = [{"role_ref": "Tenant-Admin", "tenant_ref": "blue"}]
        people.post("user", name="tina", access=access, default_tenant_ref="blue")
        people.post("user", name="sam", access=[{"role_ref": "System-Admin", "tenant_ref": "admin"}])
        return people.call("GET", "/api/serviceengine", name="se1").body["results"][0]["uuid"]

    @pytest.mark.parametrize("action", ["switchover", "reboot", "probe", "drill", "ipstat/clear", "flowtable/forget"])
    @pytest.mark.parametrize("tenant", ["blue", "*"])
    def test_actions_take_the_permission_where_the_object_belongs(self, people, engine, action, tenant):
        answer = ask(people, "tina", "POST", f"/api/serviceengine/{engine}/{action}", {}, tenant=tenant)
        assert answer.status == 403
        assert "WRITE_ACCESS of PERMISSION_SERVICEENGINE in tenant admin is missing" in answer.body["error"]

    def test_who_has_it_there_carries_them_out(self, people, engine):
        path = f"/api/serviceengine/{engine}/ipstat/clear"
        assert ask(people, "sam", "POST", path, {}, tenant="admin").status != 403

    def test_nobody_captures_on_an_engine_from_another_tenant(self, people, engine):
        path = "/api/debugserviceengine/" + engine.replace("serviceengine-", "debugserviceengine-")
        change = {"add": {"flags": [{"flag": "DEBUG_PCAP_RX"}]}}
        answers = [
            ask(people, "tina", "PATCH", path, change),
            ask(people, "tina", "POST", "/api/debugserviceengine", {"name": "se1"}),
            ask(people, "tina", "DELETE", path),
        ]
        for answer in answers:
            assert answer.status == 403
            assert "WRITE_ACCESS of PERMISSION_TRAFFIC_CAPTURE in tenant admin is missing" in answer.body["error"]
        live = ask(people, "tina", "GET", f"{path}/capture")
        assert live.status == 403
        assert "READ_ACCESS of PERMISSION_TRAFFIC_CAPTURE in tenant admin is missing" in live.body["error"]

    def test_debug_objects_of_services_are_those_of_the_own_tenant(self, people, engine):
        del engine
        people.post("vsvip", name="v", vip=[{"vip_id": "1", "ip_address": {"addr": "10.9.9.1", "type": "V4"}}])
        service = people.post(
            "virtualservice",
            name="foreign",
            vsvip_ref="v",
            services=[{"port": 80}],
            application_profile_ref="System-L4-Application",
        )
        assert ask(people, "tina", "GET", "/api/debugvirtualservice").body["results"] == []
        path = "/api/debugvirtualservice/" + service["uuid"].replace("virtualservice-", "debugvirtualservice-")
        assert ask(people, "tina", "GET", path).status == 404
        assert ask(people, "tina", "PATCH", path, {"add": {"capture": True}}).status == 404
        assert ask(people, "tina", "POST", "/api/debugvirtualservice", {"name": "foreign"}).status == 404

    def test_debug_objects_of_the_own_services_are_changed(self, people, engine):
        del engine
        vip = {"name": "v", "vip": [{"vip_id": "1", "ip_address": {"addr": "10.10.10.77", "type": "V4"}}]}
        assert ask(people, "tina", "POST", "/api/vsvip", vip).status == 201
        layer4 = {"services": [{"port": 80}], "application_profile_ref": "System-L4-Application"}
        made = ask(people, "tina", "POST", "/api/virtualservice", {"name": "own", "vsvip_ref": "v", **layer4})
        assert made.status == 201, made.body
        assert names(ask(people, "tina", "GET", "/api/debugvirtualservice")) == ["own"]
        params = {"capture_params": {"duration": 3}}
        assert ask(people, "tina", "POST", "/api/debugvirtualservice", {"name": "own", **params}).status == 201
        path = "/api/debugvirtualservice/" + made.body["uuid"].replace("virtualservice-", "debugvirtualservice-")
        assert ask(people, "tina", "GET", path).body["capture_params"]["duration"] == 3
        assert ask(people, "tina", "GET", f"{path}/capture").status == 404  # none runs
        config, ids = people.head.config, people.head.ids
        own = {**config.get("debugvirtualservice", path.rpartition("/")[2]), "capture": True}
        assert wanted(config, ids, "debugvirtualservice", own).tenant == "blue"  # its files are hers as well

    @pytest.mark.parametrize(
        "show",
        ["flowtable", "nat-flows", "route-flows", "tcp-flows", "tcp-flows/detail", "vshash", "natpolicystat",
         "natpolicystats", "network-service", "placement", "placementdetail"],
    )  # fmt: skip
    def test_shows_that_tell_of_everybodys_traffic_take_it_too(self, people, engine, show):
        answer = ask(people, "tina", "GET", f"/api/serviceengine/{engine}/{show}")
        assert answer.status == 403
        assert "READ_ACCESS of PERMISSION_SERVICEENGINE in tenant admin is missing" in answer.body["error"]
        assert ask(people, "sam", "GET", f"/api/serviceengine/{engine}/{show}", tenant="admin").status != 403

    @pytest.mark.parametrize(
        "show", ["top/services", "top/clients", "top/servers", "top/rules", "top/flows", "ftp/sessions"]
    )
    def test_so_do_those_of_the_whole_system(self, people, engine, show):
        del engine
        answer = ask(people, "tina", "GET", f"/api/{show}")
        assert answer.status == 403
        assert "READ_ACCESS of PERMISSION_SERVICEENGINE in tenant admin is missing" in answer.body["error"]
        assert ask(people, "sam", "GET", f"/api/{show}", tenant="admin").status != 403

"""The vendor's own Python SDK, unmodified."""

from __future__ import annotations

import multiprocessing

import pytest
from httpsrig import PASSWORD

avi_api = pytest.importorskip("avi.sdk.avi_api")
pytestmark = pytest.mark.filterwarnings("ignore")


def session(rig, **more):
    given = {"username": "admin", "password": PASSWORD, "tenant": "admin", "api_version": "22.1.3", **more}
    return avi_api.ApiSession(rig.address, verify=False, **given)


@pytest.fixture
def api(web_rig):
    avi_api.sessionDict.clear()
    return session(web_rig)


def test_create_read_update_patch_delete(api, web_rig):
    made = api.post("pool", data={"name": "web", "servers": [{"ip": {"addr": "10.10.40.9", "type": "V4"}}]})
    assert made.status_code == 201
    assert (
        made.headers["Location"]
        == made.json()["url"]
        == f"https://{web_rig.address}/api/pool/{made.json()['uuid']}#web"
    )
    pool = api.get_object_by_name("pool", "web")
    assert pool["tenant_ref"] == f"https://{web_rig.address}/api/tenant/admin#admin"
    changed = api.put(f"pool/{pool['uuid']}", data={**pool, "default_server_port": 8080})
    assert (changed.status_code, changed.json()["default_server_port"]) == (200, 8080)
    assert changed.json()["tenant_ref"].endswith("#admin")
    added = api.patch(
        f"pool/{pool['uuid']}", data={"add": {"servers": [{"ip": {"addr": "10.10.40.10", "type": "V4"}}]}}
    )
    assert [one["ip"]["addr"] for one in added.json()["servers"]] == ["10.10.40.9", "10.10.40.10"]
    assert api.delete(f"pool/{pool['uuid']}").status_code == 204
    assert api.get_object_by_name("pool", "web") is None
    with pytest.raises(avi_api.ObjectNotFound):
        api.get(f"pool/{pool['uuid']}").json()


def test_by_name(api):
    api.post("pool", data={"name": "a"})
    assert (
        api.put_by_name("pool", "a", data={**api.get_object_by_name("pool", "a"), "description": "x"}).status_code
        == 200
    )
    assert api.get_object_by_name("pool", "a")["description"] == "x"
    assert api.delete_by_name("pool", "a").status_code == 204


def test_pages_are_gone_through(api):
    for number in range(7):
        api.post("pool", data={"name": f"p{number}"})
    found = list(api.get_objects_iter("pool", params={"page_size": 3}))
    assert [one["name"] for one in found] == [f"p{n}" for n in range(7)]


def test_an_old_state_is_refused(api):
    pool = api.post("pool", data={"name": "a"}).json()
    api.put(f"pool/{pool['uuid']}", data={**pool, "description": "first"})
    stale = api.put(f"pool/{pool['uuid']}", data={**pool, "description": "second"})
    assert stale.status_code == 412
    with pytest.raises(avi_api.APIError):
        stale.json()


def test_a_uuid_of_the_callers_own(api):
    made = api.post("pool", data={"name": "a"}, force_uuid="pool-11111111-2222-4333-8444-555555555555")
    assert made.json()["uuid"] == "pool-11111111-2222-4333-8444-555555555555"


def test_tenants_keep_their_objects_apart(api, web_rig):
    assert api.post("tenant", data={"name": "blue"}).status_code == 201
    assert api.post("pool", data={"name": "web"}).status_code == 201
    blue = session(web_rig, tenant="blue")
    assert blue.get_object_by_name("pool", "web") is None
    made = blue.post("pool", data={"name": "web", "health_monitor_refs": ["/api/healthmonitor?name=System-TCP"]})
    assert made.status_code == 201, made.text
    assert made.json()["tenant_ref"].endswith("#blue")
    everything = api.get("pool", tenant="*").json()
    assert sorted(one["tenant_ref"].rpartition("#")[2] for one in everything["results"]) == ["admin", "blue"]
    uuid = made.json()["uuid"]
    assert api.get(f"pool/{uuid}").status_code == 404
    assert api.delete(f"pool/{uuid}", tenant="blue").status_code == 204


def test_a_session_that_was_lost_is_begun_again(api, web_rig):
    web_rig.controller.sessions.end_of("admin")
    assert api.get("pool").status_code == 200


def test_a_wrong_password(web_rig):
    with pytest.raises(avi_api.APIError):
        session(web_rig, password="wrong")


def test_a_token_in_place_of_the_password(api, web_rig):
    token = api.post("user-token", data={"hours": 1}).json()["token"]
    assert session(web_rig, password=None, token=token).get("pool").status_code == 200


def test_contexts_are_shared(api, web_rig):
    context = api.get_context()
    other = session(web_rig, session_id=context["session_id"], csrftoken=context["csrftoken"])
    assert len(web_rig.controller.sessions.of("admin")) == 1
    assert other.get("/cluster/runtime").json()["node_info"]["cluster_uuid"]


def test_basic_authentication_where_it_is_allowed(web_rig):
    import base64

    word = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    basic = session(web_rig, user_hdrs={"Authorization": f"Basic {word}"})
    with pytest.raises(avi_api.APIError, match="basic authentication is off"):
        basic.get("pool")
    api = session(web_rig)
    portal = {"portal_configuration": {"allow_basic_authentication": True}}
    body = api.get("systemconfiguration").json()
    assert api.put("systemconfiguration", data={**body, **portal}).status_code == 200
    assert basic.get("pool").status_code == 200
    assert basic.post("pool", data={"name": "a"}).status_code == 201


def test_the_own_password_is_changed(api, web_rig):
    changed = api.put("useraccount", data={"old_password": PASSWORD, "password": "Another-horse-2"})
    assert changed.status_code == 200, changed.text
    assert api.get("pool").status_code == 200
    assert session(web_rig, password="Another-horse-2").get("pool").status_code == 200


def _make(address, numbers):
    api = avi_api.ApiSession(address, "admin", PASSWORD, tenant="admin", verify=False, api_version="22.1.3")
    return [api.post("pool", data={"name": f"p{number}"}).status_code for number in numbers]


def test_processes_at_the_same_time(api, web_rig):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        found = pool.starmap(_make, [(web_rig.address, range(n, n + 5)) for n in range(0, 20, 5)])
    assert found == [[201] * 5] * 4
    assert api.get("pool").json()["count"] == 20

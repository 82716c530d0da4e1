"""A body as it came -> the body as stored: canonical, complete, in the grammar's order, every issue with its path."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avish.config.transaction import Put


def test_defaults_at_every_level(world):
    pool = world.put("pool", name="p", servers=[{"ip": "10.0.0.1"}])
    assert pool["default_server_port"] == 80
    assert pool["lb_algorithm"] == "LB_ALGORITHM_LEAST_CONNECTIONS"
    assert pool["servers"][0] == {
        "ip": {"addr": "10.0.0.1", "type": "V4"},
        "hostname": "10.0.0.1",
        "enabled": True,
        "ratio": 1,
        "verify_network": False,
        "resolve_server_by_dns": False,
        "static": False,
        "rewrite_host_header": False,
    }


def test_row_order_is_the_grammars(world):
    pool = world.put("pool", description="d", servers=[{"enabled": False, "ip": "10.0.0.1"}], name="p")
    order = list(world.schema.object("pool").fields)
    assert list(pool) == [name for name in order if name in pool]
    assert list(pool)[:2] == ["uuid", "name"]


def test_homes(world):
    pool = world.put("pool", name="p")
    assert pool["tenant_ref"] == "/api/tenant/admin"
    assert world.config.target(pool["cloud_ref"])["name"] == "Default-Cloud"
    assert world.config.target(pool["vrf_ref"])["name"] == "global"


def test_values_become_canonical(world):
    group = world.put("ipaddrgroup", name="g", prefixes=["10.1.2.3/8"], addrs=[{"addr": "::0001", "type": "V6"}])
    assert group["prefixes"] == [{"ip_addr": {"addr": "10.0.0.0", "type": "V4"}, "mask": 8}]
    assert group["addrs"] == [{"addr": "::1", "type": "V6"}]


def test_interface_addresses_keep_their_host_bits(world):
    engine = world.engine("se1", eth1="10.10.10.11/24")
    assert engine["data_vnics"][0]["vnic_networks"][0]["ip"] == {
        "ip_addr": {"addr": "10.10.10.11", "type": "V4"},
        "mask": 24,
    }


@pytest.mark.parametrize(
    "form",
    [
        "{uuid}",
        "p",
        "/api/pool/{uuid}",
        "/api/pool/{uuid}#p",
        "https://10.0.0.9:8443/api/pool/{uuid}#p",
        "/api/pool?name=p",
        "/api/pool/?name=p",
        "https://c/api/pool?name=p",
    ],
)
def test_references_in_every_form(world, form):
    pool = world.put("pool", name="p")
    world.put("vsvip", name="v", vip=[{"ip_address": "10.0.0.5"}])
    made = world.put(
        "virtualservice",
        name="vs",
        vsvip_ref="v",
        services=[{"port": 80}],
        application_profile_ref="System-L4-Application",
        pool_ref=form.format(uuid=pool["uuid"]),
    )
    assert made["pool_ref"] == f"/api/pool/{pool['uuid']}"


def test_a_reference_to_nothing_suggests(world):
    world.put("pool", name="web-pool")
    assert world.errors("virtualservice", name="vs", pool_ref="web-pol") == [
        "virtualservice vs pool_ref: there is no pool 'web-pol'; did you mean web-pool?"
    ]
    assert world.errors("virtualservice", name="vs", pool_ref="/api/vsvip/web-pool") == [
        "virtualservice vs pool_ref: there is no pool 'web-pool'; did you mean web-pool?"
    ]


def test_a_reference_kept_by_name(world):
    pool = world.put("pool", name="p", ssl_profile_ref="https://c/api/sslprofile/x-1#Mine")
    assert pool["ssl_profile_ref"] == "Mine"


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        ("pool", {"name": "p", "serverz": []}, "pool p: there is no field 'serverz'; did you mean servers?"),
        (
            "pool",
            {"name": "p", "default_server_port": 70000},
            "pool p default_server_port: 70000 is out of range (1-65535)",
        ),
        ("pool", {"name": "p", "enabled": "maybe"}, "pool p enabled: 'maybe' is neither true nor false"),
        ("pool", {"name": "p", "servers": {"ip": "10.0.0.1"}}, "pool p servers: a list is expected"),
        (
            "pool",
            {"name": "p", "servers": ["10.0.0.1"]},
            "pool p servers[1]: a message is expected (servers, then ip <x.x.x.x>)",
        ),
        ("pool", {"name": "p", "servers": [{"port": 1}]}, "pool p servers[1].ip: ip is missing (ip <x.x.x.x>)"),
        (
            "pool",
            {"name": "p", "servers": [{"ip": "10.0.0.300"}]},
            "pool p servers[1].ip: '10.0.0.300' is not an IP address",
        ),
        (
            "pool",
            {"name": "p", "servers": [{"ip": "10.0.0.1", "port": 1}, {"ip": "10.0.0.1", "port": 1}]},
            "pool p servers[2]: ip 10.0.0.1, port 1 stands in entry 1 already; change one or remove it",
        ),
        (
            "pool",
            {"name": "p", "health_monitor_refs": ["System-TCP"] * 51},
            "pool p health_monitor_refs: 51 entries are too many: at most 50",
        ),
        (
            "natpolicy",
            {"name": "n", "rules": [{"index": 1, "name": "r", "enable": True, "match": {}}]},
            "natpolicy n rules[1].action: action is missing (action, then type WORD)",
        ),
        (
            "pool",
            {"name": "a/b"},
            "pool a/b name: a name cannot hold '/': letters, digits, blanks and . @ + - _ are allowed",
        ),
        ("pool", {}, "pool name: name is missing (name NAME)"),
    ],
)
def test_refused(world, kind, fields, text):
    assert text in world.errors(kind, **fields)


def test_all_issues_not_the_first(world):
    assert len(world.errors("pool", name="p", default_server_port=0, enabled=3, servers=[{}], nonsense=1)) == 4


def test_what_clients_send_along_is_dropped(world):
    pool = world.put(
        "pool", name="p", url="https://c/api/pool/x", cloud_ref_data={"name": "x"}, vrf_name="y", description=None
    )
    assert not {"url", "cloud_ref_data", "vrf_name", "description"} & pool.keys()


def test_uuid_is_never_the_clients(world):
    pool = world.put("pool", name="p", uuid="pool-mine")
    assert pool["uuid"].startswith("pool-")
    assert pool["uuid"] != "pool-mine"
    assert world.put("pool", name="p", uuid="other", description="d")["uuid"] == pool["uuid"]


def test_route_ids_count_and_stay(world):
    routes = [{"prefix": "10.1.0.0/16", "next_hop": "10.0.0.1"}, {"prefix": "10.2.0.0/16", "next_hop": "10.0.0.1"}]
    vrf = world.put("vrfcontext", name="blue", static_routes=routes)
    assert [route["route_id"] for route in vrf["static_routes"]] == ["1", "2"]
    left = [vrf["static_routes"][1], {"prefix": "10.3.0.0/16", "next_hop": "10.0.0.1"}]
    vrf = world.put("vrfcontext", name="blue", static_routes=left)
    assert [route["route_id"] for route in vrf["static_routes"]] == ["2", "1"]


ROUTE = {"prefix": "10.1.0.0/16", "next_hop": "10.0.0.1"}
ROUTE2 = {"prefix": "10.2.0.0/16", "next_hop": "10.0.0.1"}


def test_other_autos(world):
    vsvip = world.put("vsvip", name="v", vip=[{"ip_address": "10.0.0.5"}, {"ip_address": "10.0.0.6", "vip_id": "0"}])
    assert [vip["vip_id"] for vip in vsvip["vip"]] == ["1", "0"]
    service = world.put(
        "virtualservice",
        name="vs",
        services=[{"port": 80}, {"port": 90, "port_range_end": 95}],
        vsvip_ref="v",
        application_profile_ref="System-L4-Application",
    )
    assert [item["port_range_end"] for item in service["services"]] == [80, 95]
    pool = world.put("pool", name="p", servers=[{"ip": "10.0.0.1"}, {"ip": "10.0.0.2", "hostname": "web"}])
    moved = [{**pool["servers"][0], "ip": "10.0.0.9"}, pool["servers"][1]]
    pool = world.put("pool", name="p", servers=moved)
    assert [server["hostname"] for server in pool["servers"]] == ["10.0.0.9", "web"]
    assert pool["server_count"] == 2
    assert world.put("pool", name="p", servers=[], server_count=7)["server_count"] == 0
    cluster = world.put("cluster", nodes=[{"name": "n", "ip": "10.0.0.1", "static_routes": [ROUTE, ROUTE2]}])
    assert [route["route_id"] for route in cluster["nodes"][0]["static_routes"]] == ["1", "2"]


def test_a_stored_body_normalises_to_itself(ftp):
    for kind in ftp.config.types():
        for body in ftp.config.all(kind):
            prepared = ftp.try_put(kind, **body)
            assert not prepared.errors
            assert prepared.changes == ()


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        ["10.0.0.1", "10.0.0.0/8", "IS_IN", "System-TCP", "/api/pool/?name=", "https://[", "#", "a" * 300]
    )
)
junk = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def fitting(message, depth=3):
    """Bodies with the right names and any values."""
    inner = {
        name: (
            st.lists(fitting(field.message, depth - 1), max_size=2) if field.list else fitting(field.message, depth - 1)
        )
        | junk
        if field.message is not None and depth
        else junk
        for name, field in message.fields.items()
    }
    return st.fixed_dictionaries({}, optional=inner)


@pytest.mark.parametrize(
    "kind", ["natpolicy", "pool", "vsvip", "virtualservice", "networkservice", "vrfcontext", "serviceengine"]
)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_body_raises(kind, ftp, data):
    body = data.draw(fitting(ftp.schema.object(kind)))
    prepared = ftp.prepare(Put(kind, None, body))
    assert prepared.errors or prepared.config.get(*prepared.written[0])


PEER = {"peer_ip": "10.0.0.1", "subnet": "10.0.0.0/24", "md5_secret": "abcd"}


def test_a_secret_that_comes_back_as_it_was_shown_stays(world):
    profile = {"local_as": 1, "ibgp": True, "peers": [PEER, {**PEER, "peer_ip": "10.0.0.2", "md5_secret": "efgh"}]}
    vrf = world.put("vrfcontext", name="blue", bgp_profile=profile)
    shown = [{**peer, "md5_secret": "<sensitive>"} for peer in reversed(vrf["bgp_profile"]["peers"])]
    changed = world.put("vrfcontext", name="blue", bgp_profile={**profile, "local_as": 2, "peers": shown})
    assert [peer["md5_secret"] for peer in changed["bgp_profile"]["peers"]] == ["efgh", "abcd"]


def test_a_placeholder_for_no_secret_is_refused(world):
    profile = {"local_as": 1, "ibgp": True, "peers": [{**PEER, "md5_secret": "<sensitive>"}]}
    prepared = world.prepare(Put("vrfcontext", None, {"name": "blue", "bgp_profile": profile}))
    (issue,) = prepared.errors
    assert issue.path == "vrfcontext blue bgp_profile.peers[1].md5_secret"
    assert "give the secret itself" in issue.text

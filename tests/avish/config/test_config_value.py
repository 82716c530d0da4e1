"""Config is a value: indexes follow the changes, older revisions stay as they were."""

from hypothesis import given
from hypothesis import strategies as st

from avish.config.config import Change, Config, ref_to

POOL = {"uuid": "pool-1", "name": "p", "tenant_ref": "/api/tenant/admin"}


def vs(uuid, pool="pool-1", **more):
    return {"uuid": uuid, "name": uuid, "pool_ref": ref_to("pool", pool), **more}


def test_lookups():
    config = Config.of(3, [("pool", POOL), ("virtualservice", vs("virtualservice-1"))])
    assert config.revision == 3
    assert config.get("pool", "pool-1") is POOL
    assert config.get("pool", "pool-2") is None
    assert config.uuid_of("pool", "p") == "pool-1"
    assert config.uuid_of("pool", "q") is None
    assert config.target("/api/pool/pool-1") is POOL
    assert config.target("System-Analytics-Profile") is None
    assert config.referrers("pool-1") == [("virtualservice", "virtualservice-1")]


def test_older_revisions_stay():
    first = Config.of(1, [("pool", POOL)])
    renamed = {**POOL, "name": "q"}
    second = first.with_changes([Change("pool", "pool-1", renamed), Change("virtualservice", "v-1", vs("v-1"))], 2)
    third = second.with_changes([Change("pool", "pool-1", None), Change("virtualservice", "v-1", None)], 3)
    assert (first.uuid_of("pool", "p"), first.uuid_of("pool", "q"), first.referrers("pool-1")) == ("pool-1", None, [])
    assert (second.uuid_of("pool", "p"), second.uuid_of("pool", "q")) == (None, "pool-1")
    assert second.referrers("pool-1") == [("virtualservice", "v-1")]
    assert (third.all("pool"), third.uuid_of("pool", "q"), third.referrers("pool-1")) == ([], None, [])


def test_untouched_tables_are_shared():
    first = Config.of(1, [("pool", POOL)])
    second = first.with_changes([Change("virtualservice", "v-1", vs("v-1"))], 2)
    assert second.table("pool") is first.table("pool")


def test_order_of_creation_survives_a_change():
    config = Config.of(1, [("pool", {"uuid": f"pool-{n}", "name": str(n)}) for n in range(3)])
    changed = config.with_changes([Change("pool", "pool-0", {"uuid": "pool-0", "name": "z"})], 2)
    assert [body["name"] for body in changed.all("pool")] == ["z", "1", "2"]


def test_addresses_and_ports_are_indexed():
    vip = {"uuid": "vsvip-1", "name": "v", "vip": [{"vip_id": "1", "ip_address": {"addr": "10.0.0.5", "type": "V4"}}]}
    at = {"vsvip_ref": ref_to("vsvip", "vsvip-1")}
    config = Config.of(
        1,
        [
            ("vsvip", vip),
            ("virtualservice", vs("v-one", services=[{"port": 80, "port_range_end": 80}], **at)),
            ("virtualservice", vs("v-few", services=[{"port": 90, "port_range_end": 99}], **at)),
            ("virtualservice", vs("v-wide", services=[{"port": 1000, "port_range_end": 9000}], **at)),
        ],
    )
    assert config.vsvips_with("10.0.0.5") == ["vsvip-1"]
    assert config.vsvips_with("10.0.0.6") == []
    assert config.services_near("vsvip-1", 80, 80) == {"v-one", "v-wide"}
    assert config.services_near("vsvip-1", 95, 120) == {"v-few", "v-wide"}
    assert config.services_near("vsvip-1", 1, 65535) == {"v-one", "v-few", "v-wide"}


bodies = st.fixed_dictionaries({"name": st.sampled_from("abc"), "pool_ref": st.sampled_from(["", *"123"])})
steps = st.lists(st.tuples(st.sampled_from(["x-1", "x-2", "x-3"]), st.none() | bodies))


@given(steps)
def test_indexes_equal_those_made_afresh(steps):
    config = Config()
    for uuid, body in steps:
        whole = body and {**body, "uuid": uuid, "pool_ref": ref_to("pool", f"pool-{body['pool_ref']}")}
        config = config.with_changes([Change("x", uuid, whole)], config.revision + 1)
    fresh = Config.of(1, [("x", body) for body in config.all("x")])
    for number in "123":
        assert sorted(config.referrers(f"pool-{number}")) == sorted(fresh.referrers(f"pool-{number}"))
    for body in config.all("x"):
        found = config.named("x", body["name"])
        assert found is None or found["name"] == body["name"]


def test_what_is_mentioned_no_more_leaves_no_trace():
    """Else each address and port that ever was would stay in memory for good."""
    service = {"uuid": "virtualservice-1", "name": "v", "vsvip_ref": "/api/vsvip/vsvip-1", "services": [{"port": 80}]}
    vsvip = {"uuid": "vsvip-1", "name": "a", "vip": [{"ip_address": {"addr": "10.1.1.1", "type": "V4"}}]}
    before = Config.of(1, [("vsvip", vsvip), ("virtualservice", service)])
    draft = before.draft(2)
    for number in range(2, 60):
        vip = {"vip": [{"ip_address": {"addr": f"10.1.1.{number}", "type": "V4"}}]}
        draft.put(Change("vsvip", "vsvip-1", {**vsvip, **vip}))
        draft.put(Change("virtualservice", "virtualservice-1", {**service, "services": [{"port": number}]}))
    after = draft.freeze()
    for config in (before, after):
        kept = {target for bucket in config._mentions.values() for target in bucket}
        assert len(kept) == 3, kept
    assert after.vsvips_with("10.1.1.59") == ["vsvip-1"]
    assert before.vsvips_with("10.1.1.1") == ["vsvip-1"]
    gone = after.with_changes([Change("virtualservice", "virtualservice-1", None), Change("vsvip", "vsvip-1", None)], 3)
    assert not any(gone._mentions.values())

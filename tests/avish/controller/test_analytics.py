"""What the vendor's SDK asks for metrics and licences."""

from __future__ import annotations

import os

import pytest

from avish.controller.rings import Track


@pytest.fixture
def service(rig):
    vip = rig.post("vsvip", name="v", vip=[{"vip_id": "1", "ip_address": {"addr": "10.10.10.50", "type": "V4"}}])
    profiles = {"application_profile_ref": "System-L4-Application", "network_profile_ref": "System-TCP-Fast-Path"}
    made = rig.post("virtualservice", name="v", vsvip_ref=vip["uuid"], services=[{"port": 80}], **profiles)
    track = Track()
    for number in range(60):
        track.second({"bytes": number, "reply_bytes": 100, "connections": 2}, 1.0)
    rig.controller.records.rates._tracks["service", made["uuid"]] = track
    return made["uuid"]


def test_the_last_seconds_of_a_service(rig, service):
    found = rig.get(
        f"/api/analytics/metrics/virtualservice/{service}",
        metric_id="l4_client.avg_bandwidth,l4_client.avg_new_established_conns", step="5", limit="3",
    )  # fmt: skip
    bandwidth, connections = found["series"]
    assert bandwidth["header"]["units"] == "BITS_PER_SECOND"
    assert [one["value"] for one in bandwidth["data"]] == [8 * (100 + mean) for mean in (47, 52, 57)]
    assert bandwidth["header"]["statistics"] == {
        "min": 1176, "max": 1256, "mean": 1216, "sum": 3648, "num_samples": 3
    }  # fmt: skip
    assert [one["value"] for one in connections["data"]] == [2, 2, 2]
    stamps = [one["timestamp"] for one in connections["data"]]
    assert stamps == sorted(stamps)


def test_several_at_once(rig, service):
    asked = [{"id": "a", "entity_uuid": service, "metric_id": "l4_client.avg_rx_bytes", "step": 60, "limit": 2}]
    answer = rig.call("POST", "/api/analytics/metrics/collection", {"metric_requests": asked})
    assert [one["value"] for one in answer.body["series"]["a"][0]["data"]] == [0, 0]


def test_processors_as_licences(rig):
    found = rig.get("/api/licenseusage")
    assert found["licensed_cores"] == os.cpu_count() == found["available"]
    found = rig.get("/api/analytics/metrics/controller", metric_id="controller_stats.avg_num_service_cores")
    assert found["results"][0]["series"][0]["header"]["statistics"]["mean"] is not None


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        ("virtualservice/{}", {"metric_id": "l7_client.avg_waf"}, "is not measured here"),
        ("virtualservice/{}", {"step": "0"}, "step: '0' is no number"),
        ("virtualservice/{}", {"limit": "9" * 5000}, "limit: "),
        ("virtualservice/virtualservice-no", {}, "not found!"),
        ("controller", {"metric_id": "x"}, "is not measured here"),
    ],
)
def test_what_is_not_measured(rig, service, path, query, said):
    answer = rig.call("GET", f"/api/analytics/metrics/{path.format(service)}", None, **query)
    assert answer.status in (400, 404)
    assert said in answer.body["error"]


@pytest.mark.parametrize("body", [None, [], {"metric_requests": "x"}, {"metric_requests": [1]}, {"metric_requests": [{}]}])  # fmt: skip
def test_wrong_shapes(rig, body):
    answer = rig.call("POST", "/api/analytics/metrics/collection", body)
    assert answer.status in (400, 404)
    assert answer.body["error"]


@pytest.mark.parametrize("noun", ["license", "sslkeyandcertificate", "fileservice/hsmpackages", "macro", "nonsense"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_not_here_is_refused_in_words(rig, noun, method):
    answer = rig.call(method, f"/api/{noun}", {"a": 1} if method == "POST" else None)
    assert answer.status == 404
    assert answer.body["error"].startswith("there is no ")

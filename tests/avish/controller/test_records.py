"""Events, alerts, rates and metrics: what the controller notes down."""

from __future__ import annotations

import json

import pytest

from avish.controller.alerts import Alerts, legacy, matches, rfc5424
from avish.controller.events import Events
from avish.controller.rings import SLOTS, Rates
from avish.operate.rates import spark


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def events(tmp_path, clock):
    found = Events(tmp_path / "events.db", clock)
    yield found
    found.close()


def test_commits_write_themselves_down(rig):
    rig.post("pool", name="p")
    rig.change("pool", "p", default_server_port=81)
    rig.call("DELETE", f"/api/pool/{rig.one('pool', 'p')['uuid']}")
    found = rig.get("/api/events", obj_name="p")["event"]
    assert [one["event_id"] for one in found] == ["CONFIG_CREATE", "CONFIG_UPDATE", "CONFIG_DELETE"]
    assert found[0]["event_description"].startswith("pool p was created by admin (revision ")
    assert (found[1]["user"], found[1]["event_details"]["source"]) == ("admin", "test")


def test_a_commit_of_many_objects_is_told_in_short(rig):
    requests = [{"method": "POST", "path": "/api/pool", "body": {"name": f"p{n}"}} for n in range(60)]
    assert rig.call("POST", "/api/transaction", {"requests": requests}).status == 200
    found = rig.get("/api/events")["event"]
    assert len(found) == 51
    assert found[-1]["event_description"].startswith("10 more objects were changed by admin")


def test_events_are_filtered(events, clock):
    events.add("VS_DOWN", "web is down", obj=("virtualservice", "u1", "web"))
    clock.now += 600
    events.add("USER_LOGIN", "joe came in", user="joe")
    assert [one["event_id"] for one in events.recent({"since": "5"})] == ["USER_LOGIN"]
    assert [one["obj_name"] for one in events.recent({"contains": "WEB"})] == ["web"]
    assert events.recent({"user": "joe", "event_id": "VS_DOWN"}) == []
    assert len(events.recent({"last": "1"})) == 1


def test_events_survive_and_are_numbered_on(tmp_path, clock):
    first = Events(tmp_path / "e.db", clock)
    first.add("SE_UP", "one")
    first.close()
    again = Events(tmp_path / "e.db", clock)
    again.add("SE_UP", "two")
    assert [one["number"] for one in again.recent({})] == [1, 2]
    assert (tmp_path / "e.db").stat().st_mode & 0o777 == 0o600
    again.close()


def test_a_follower_gets_what_it_asked_for(events):
    following = events.follow({"event_id": "SE_UP"})
    events.add("SE_DOWN", "a")
    events.add("SE_UP", "b")
    assert next(following)["event_description"] == "b"
    following.close()


class Outlet:
    def __init__(self):
        self.sent = []
        self.fault = ""

    def syslog(self, server, sender, alert):
        self.sent.append((server["syslog_server"], sender, alert["text"]))
        return self.fault

    def scripts(self, alert):
        return []


class Config:
    def __init__(self, **objects):
        self.objects = objects

    def all(self, kind):
        return self.objects.get(kind, [])


def watching(**fields):
    rule = {"sys_event_rule": [{"event_id": "VS_DOWN"}], "operator": "OPERATOR_OR"}
    body = {"uuid": "a1", "name": "down", "source": "EVENT_LOGS", "category": "REALTIME", "threshold": 1, "throttle": 0}
    return body | {"alert_rule": rule} | fields


@pytest.fixture
def raised(events, clock):
    """A function: alertconfig, event_ids -> texts of the alerts raised."""
    outlet = Outlet()

    def raise_(config, *event_ids, step=1.0):
        servers = {
            "uuid": "s",
            "name": "s",
            "sender_hostname": "here",
            "syslog_servers": [{"syslog_server": "10.0.0.1"}],
        }
        alerts = Alerts(events, lambda: Config(alertconfig=[config], alertsyslogconfig=[servers]), outlet, clock)
        for event_id in event_ids:
            events.add(event_id, f"{event_id} of web", obj=("virtualservice", "u1", "web"), details={"count": "7"})
            clock.now += step
            alerts.look()
        return alerts.recent({})

    raise_.outlet = outlet
    return raise_


def test_an_alert_is_raised_sent_and_kept_until_it_expires(raised, clock):
    (alert,) = raised(watching(expiry_time=60), "VS_UP", "VS_DOWN")
    assert alert["event_description"] == "down: VS_DOWN of web"
    assert raised.outlet.sent == [("10.0.0.1", "here", "VS_DOWN of web")]
    clock.now += 61
    assert raised(watching()) == []


def test_what_could_not_be_sent_stands_with_the_alert(raised):
    raised.outlet.fault = "no route"
    (alert,) = raised(watching(), "VS_DOWN")
    assert alert["event_details"]["not_sent"] == ["10.0.0.1: no route"]


def test_thresholds_windows_and_throttles(raised):
    assert len(raised(watching(threshold=3), *["VS_DOWN"] * 3)) == 1
    assert len(raised(watching(uuid="a2", throttle=600), *["VS_DOWN"] * 3)) == 2
    rolling = watching(uuid="a3", category="ROLLINGWINDOW", threshold=2, rolling_window=5)
    assert len(raised(rolling, "VS_DOWN", "VS_DOWN", step=6.0)) == 2


def test_with_and_every_event_has_to_come(raised):
    both = watching(alert_rule={"sys_event_rule": [{"event_id": "VS_DOWN"}, {"event_id": "POOL_DOWN"}]})
    assert raised(both, "VS_DOWN", "VS_DOWN") == []
    assert len(raised(both, "VS_DOWN", "POOL_DOWN")) == 1


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (watching(), True),
        (watching(obj_uuid="other"), False),
        (watching(object_type="VIRTUALSERVICE"), True),
        (watching(object_type="POOL"), False),
        (watching(alert_rule={"event_match_filter": "WEB"}), True),
        (watching(alert_rule={"event_match_filter": "db"}), False),
        (watching(alert_rule={}), False),
        (watching(alert_rule={"sys_event_rule": [{"event_id": "VS_UP", "not_cond": True}]}), True),
        (watching(alert_rule={"sys_event_rule": [{"event_id": "VS_DOWN", "event_details": [
            {"event_details_key": "count", "event_details_value": "5", "comparator": "ALERT_OP_GT"}]}]}), True),
        (watching(alert_rule={"sys_event_rule": [{"event_id": "VS_DOWN", "event_details": [
            {"event_details_key": "obj_name", "event_details_value": "db"}]}]}), False),
    ],
)  # fmt: skip
def test_what_a_rule_matches(events, config, expected):
    events.add("VS_DOWN", "web is down", obj=("virtualservice", "u1", "web"), details={"count": "7"})
    assert matches(config, events.recent({})[0]) is expected


def test_syslog_messages_are_one_line_and_quoted():
    event = {"obj_name": 'a"]b', "obj_type": "pool", "number": 3}
    alert = {"name": "n", "text": "two\nlines", "time": 0.25, "event_id": "POOL_DOWN", "event": event}
    text = rfc5424(alert, "host", 9)
    assert text.startswith("<132>1 1970-01-01T00:00:00.250Z host avish 9 POOL_DOWN [alert@32473 ")
    assert 'object="a\\"\\]b"' in text
    assert text.endswith("] two lines")
    assert legacy(alert, "host") == "<132>Jan  1 00:00:00 host avish: two lines"


def test_rates_are_the_growth_between_two_looks():
    rates = Rates()
    key = ("service", "vs1")
    rates.look({("se1", key): {"packets": 100, "bytes": 1000}}, 10.0)
    rates.look({("se1", key): {"packets": 130, "bytes": 1000}, ("se1", ("server", "s")): {"packets": 8}}, 12.0)
    track = rates.get(key)
    assert (track.now["packets"], track.now["bytes"], track.totals["packets"]) == (15.0, 0.0, 30)
    assert rates.get(("server", "s")).totals["packets"] == 8
    rates.look({("se1", key): {"packets": 6}}, 13.0)
    assert track.now["packets"] == 6.0
    assert len(track.seconds["packets"].values()) == SLOTS
    assert track.seconds["packets"].values()[-2:] == [15.0, 6.0]


def test_minutes_are_averages_with_health():
    rates, key = Rates(), ("service", "vs1")
    rates.judge([(key, 100.0)])
    for second in range(62):
        rates.look({("se1", key): {"packets": 60 * second}}, 100.0 + second)
    track = rates.get(key)
    assert track.minutes["packets"].values()[-1] == pytest.approx(60.0, rel=0.05)
    assert track.health.values()[-2:] == [-1.0, 100.0]


def test_sparks():
    assert spark([0, 1, 2, 4]) == "▁▃▄█" or spark([0, 1, 2, 4])[-1] == "█"
    assert spark([0, 0]) == "▁▁"


def told(rig):
    return {one["event_id"] for one in rig.get("/api/events")["event"]}


def test_the_monitor_tells_what_became_different(ftp_rig):
    monitor = ftp_rig.controller.monitor
    monitor.states()
    ftp_rig.drivers["se1"].reachable = False
    monitor.states()
    assert {"SE_DOWN", "VS_DOWN"} <= told(ftp_rig)
    assert "SE_UP" not in told(ftp_rig)
    ftp_rig.drivers["se1"].reachable = True
    monitor.states()
    assert {"SE_UP", "VS_UP"} <= told(ftp_rig)


def test_rates_of_services_rules_and_servers(ftp_rig):
    monitor, se1 = ftp_rig.controller.monitor, ftp_rig.drivers["se1"]
    monitor.counters()
    row = {
        "mark": 1,
        "ip": "10.10.40.101",
        "port": 21,
        "packets": 5,
        "bytes": 50,
        "reply_packets": 6,
        "reply_bytes": 60,
    }
    se1.fact_values["rates"] = [row, {**row, "mark": 0x80000001, "ip": "", "port": 0}]
    se1.counter_values = {"service_1": (3, 0), "nat_1_hits": (2, 0)}
    monitor.counters()
    top = ftp_rig.get("/api/top/services")["top"]
    assert top[0]["name"] == "ftp-vs"
    assert top[0]["bytes"] > 0
    assert ftp_rig.get("/api/top/rules", sort="connections")["top"][0]["name"] == "ftp-nat/1 active-ftp-data"
    assert ftp_rig.get("/api/top/servers")["top"][0]["name"] == "ftp-vs 10.10.40.101:21"
    rate = ftp_rig.show("virtualservice", "ftp-vs", "rate")["rate"]
    assert [one["metric"] for one in rate][-1] == "health"
    bad = ftp_rig.call("GET", "/api/top/services", sort="nonsense")
    assert (bad.status, "there is no column" in bad.body["error"]) == (400, True)


def test_metrics_are_what_prometheus_reads(ftp_rig):
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.parser import text_string_to_metric_families

    from avish.server.daemon import collector_of

    ftp_rig.controller.monitor.counters()
    ftp_rig.controller.monitor.states()
    registry = CollectorRegistry()
    registry.register(collector_of(ftp_rig.controller))
    families = {one.name: one for one in text_string_to_metric_families(generate_latest(registry).decode())}
    assert families["avish_virtualservice_up"].samples[0].labels == {"virtualservice": "ftp-vs"}
    counted = [one for one in families["avish_commit_seconds"].samples if one.name.endswith("_count")]
    assert counted[0].value >= 1
    assert json.dumps(sorted(families)).count("avish_") > 10


def test_who_comes_in_and_what_is_captured_is_told(ftp_rig):
    ftp_rig.controller.audit.write("login", "joe", "1.2.3.4", via="https")
    ftp_rig.controller.audit.write("login refused", "joe", "1.2.3.4", reason="wrong password")
    found = ftp_rig.get("/api/events", contains="joe")["event"]
    assert [one["event_description"] for one in found] == ["joe logged in", "joe was refused: wrong password"]


class TestForwarding:
    """What the syslog servers get besides alerts."""

    @pytest.fixture
    def sent(self, rig):
        forwarder = rig.controller.records.forwarder
        forwarder._outlet = outlet = Outlet()
        rig.post("alertsyslogconfig", name="s", syslog_servers=[{"syslog_server": "10.0.0.1", "udp": True}])

        def sent():
            forwarder.send()
            texts = [text for _, _, text in outlet.sent]
            outlet.sent.clear()
            return texts

        sent()
        return sent

    def test_the_audit_goes_there_line_by_line(self, rig, sent):
        made = rig.call("POST", "/api/pool", {"name": "p"})
        rig.controller.audit.write("login refused", "joe", "1.2.3.4", reason="wrong password")
        change, refused = sent()
        assert change.startswith("admin from test: change method=POST path=/api/pool status=201 tenant=admin")
        assert change.endswith(f", request {made.headers['X-Avish-Request']}")
        assert refused == "joe from 1.2.3.4: login refused reason=wrong password"

    def test_so_do_events_of_the_system(self, rig, sent):
        rig.controller.records.events.add("SE_DOWN", "service engine se1 is away")
        assert sent() == ["service engine se1 is away"]

    def test_each_is_switched_off_by_its_alertconfig(self, rig, sent):
        rig.change("alertconfig", "Syslog-Config-Events", enabled=False)
        sent()
        rig.post("pool", name="p")
        rig.controller.records.events.add("SE_DOWN", "away")
        assert sent() == ["away"]
        rig.change("alertconfig", "Syslog-System-Events", enabled=False)
        rig.controller.records.events.add("SE_DOWN", "away")
        assert sent() == []

    def test_a_slow_server_costs_messages_and_says_so(self, rig, sent):
        forwarder = rig.controller.records.forwarder
        forwarder._queue.maxsize = 2
        for number in range(5):
            rig.controller.records.events.add("SE_DOWN", f"event {number}")
        first, second = sent()
        assert "3 messages before this one were left out" in first
        assert second == "event 1"

"""Figures of operating: long tables of connections, counters of many rules, states of many services, metrics."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from figures import Figure

from dataplane.model import NAT_MARK

FLOWS = 100_000
FEW = 50
RULES = 1000
SERVICES = 10_000
VIP, SERVER, CLIENT = "10.10.10.50", "10.10.40.101", "10.99.0.1"
FEW_OF = "bench-few"
TIMES = 5
KEPT = ("application_profile_ref", "network_profile_ref", "se_group_ref", "pool_ref")


def figures(lab):
    """All of them, on the lab as it stands; it is fuller afterwards."""
    shell = [str(lab.bin / "avish"), "--home", str(lab.home)]
    yield from _connections(lab, shell)
    yield _rules(lab)
    yield from _services(lab)


def _connections(lab, shell):
    """Of a service with nearly all of them, of one with a few, and of one client; then as many translated flows."""
    api = lab.client()
    _fill(lab, FLOWS - FEW, _mark(api, "ftp-vs"), CLIENT)
    few = _small_service(api)
    _fill(lab, FEW, few, "10.98.0.1")
    yield from _listing(lab, [*shell, "-c", "show virtualservice ftp-vs connections"], "connections")
    least = _median(lambda: _timed([*_inside(lab), "conntrack", "-L", "-m", str(few)]))
    of_service = f"/api/virtualservice/{_named(api, 'virtualservice', FEW_OF)['uuid']}/connections"
    one = _median(lambda: _asked(api, of_service, {"page_size": "500"}))
    yield Figure(f"{FEW} of {FLOWS:,} of one service", one, least, "ms", "<= 150 ms", one <= 150, "conntrack -L -m")
    query = {"src_ip_addr": "10.98.0.1", "page_size": "500"}
    one = _median(lambda: _asked(api, f"{_engine(api)}/flowtable", query))
    yield Figure(f"{FEW} of {FLOWS:,} by a filter", one, least, "ms", "<= 150 ms", one <= 150, "conntrack -L -m")
    subprocess.run([*_inside(lab), "conntrack", "-F"], check=True, capture_output=True)
    _fill(lab, FLOWS, NAT_MARK | 1, CLIENT)
    yield from _listing(lab, [*shell, "-c", "show serviceengine se1 nat-flows"], "nat-flows")


def _small_service(api):
    """A service of its own with the servers of the other; its mark."""
    address = {"addr": "10.10.10.61", "type": "V4"}
    vip = _kept(api.call("POST", "/api/vsvip", body={"name": FEW_OF, "vip": [{"vip_id": "1", "ip_address": address}]}))
    base = _named(api, "virtualservice", "ftp-vs")
    kept = {name: base[name] for name in KEPT if name in base}
    body = {**kept, "name": FEW_OF, "vsvip_ref": vip["url"], "services": [{"port": 21}]}
    _kept(api.call("POST", "/api/virtualservice", body=body))
    return _mark(api, FEW_OF)


def _listing(lab, command, what):
    """The first page and the whole of it, beside conntrack."""
    peer = _median(lambda: _timed([*_inside(lab), "conntrack", "-L"]))
    name = f"conntrack -L, {FLOWS:,} connections"
    first = _median(lambda: _first_line(command))
    yield Figure(f"first page of {FLOWS:,} {what}", first, peer, "ms", "<= 400 ms", first <= 400, name)
    whole, size = _dump(command)
    text = f"<= 3000 ms and 150 MB ({size:.0f} MB)"
    yield Figure(f"the whole dump of {what}", whole, peer, "ms", text, whole <= 3000 and size <= 150, name)


def _inside(lab):
    return ["ip", "netns", "exec", f"{lab.prefix}-se1"]


def _engine(api):
    return f"/api/serviceengine/{_named(api, 'serviceengine', 'se1')['uuid']}"


def _mark(api, service):
    path = f"/api/virtualservice/{_named(api, 'virtualservice', service)['uuid']}/internal"
    return api.call("GET", path).body["vs_stat_index"]


def _rules(lab):
    api = lab.client()
    policy = _named(api, "natpolicy", "ftp-nat")
    rule = policy["rules"][0]
    rules = [{**rule, "index": index, "name": f"rule-{index}"} for index in range(1, RULES + 1)]
    _kept(api.call("PUT", f"/api/natpolicy/{policy['uuid']}", body={**policy, "rules": rules}))
    value = _median(lambda: _asked(api, f"{_engine(api)}/natpolicystat", {}))
    return Figure(f"natpolicystat with {RULES:,} rules", value, 0, "ms", "<= 400 ms", value <= 400, "none")


def _services(lab):
    api = lab.client()
    vip = {"name": "many", "vip": [{"vip_id": "1", "ip_address": {"addr": "10.10.10.60", "type": "V4"}}]}
    ref = _kept(api.call("POST", "/api/vsvip", body=vip))["url"]
    base = _named(api, "virtualservice", "ftp-vs")
    kept = {name: base[name] for name in KEPT if name in base}
    for start in range(0, SERVICES, 5000):
        requests = [
            {"method": "POST", "path": "/api/virtualservice", "body": {
                **kept, "name": f"many-{n:05}", "vsvip_ref": ref, "services": [{"port": 20000 + n}]}}
            for n in range(start, start + 5000)
        ]  # fmt: skip
        _kept(api.call("POST", "/api/transaction", body={"requests": requests}))
    query = {"join_subresources": "runtime", "page_size": "500", "page": "1"}
    value = _median(lambda: _asked(api, "/api/virtualservice", query))
    name = f"show virtualservice, {SERVICES:,} services (first page, live state)"
    yield Figure(name, value, 0, "ms", "<= 400 ms", value <= 400, "none")
    yield from _metrics(lab, api)


def _metrics(lab, api):
    """A scrape of 10,000 services, and a commit while somebody scrapes all the time."""
    where = f"http://127.0.0.1:{lab.metrics}/metrics"
    _until_counted(where)
    scrape = _median(lambda: _fetched(where))
    yield Figure(f"metrics, {SERVICES:,} services", scrape, 0, "ms", "<= 1000 ms", scrape <= 1000, "none")
    quiet = _commits(api)
    stop = threading.Event()
    scraper = threading.Thread(target=lambda: _again(where, stop))
    scraper.start()
    try:
        busy = _commits(api)
    finally:
        stop.set()
        scraper.join()
    met = busy <= 2 * quiet + 5
    yield Figure(
        "commit while scraped each second", busy, quiet, "ms", "<= 2 x floor + 5 ms", met, "the same, not scraped"
    )


def _again(where, stop):
    while not stop.wait(1.0):
        _fetched(where)


def _until_counted(where):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if _body(where).count(b"avish_virtualservice_connections_total{") >= SERVICES:
            return
        time.sleep(1)
    raise SystemExit(f"bench: the controller does not count {SERVICES} services")


def _commits(api):
    pool = _named(api, "pool", "bench-0001-pool")
    samples = []
    for number in range(20):
        began = time.perf_counter()
        pool = _kept(api.call("PUT", f"/api/pool/{pool['uuid']}", body={**pool, "default_server_port": 1000 + number}))
        samples.append((time.perf_counter() - began) * 1000)
    return statistics.median(samples)


def _body(where):
    with urllib.request.urlopen(where, timeout=60) as answer:
        return answer.read()


def _fetched(where):
    began = time.perf_counter()
    _body(where)
    return (time.perf_counter() - began) * 1000


def _fill(lab, count, mark, client):
    command = [sys.executable, "-m", "bench.flows", f"{lab.prefix}-se1", str(count), str(mark), client, VIP, SERVER]
    subprocess.run(command, check=True, cwd=Path(__file__).parent.parent)


def _named(api, kind, name):
    return _kept(api.call("GET", f"/api/{kind}", {"name": name}))["results"][0]


def _kept(answer):
    if answer.status >= 400:
        raise SystemExit(f"bench: refused: {str(answer.body)[:300]}")
    return answer.body


def _median(measure):
    return statistics.median(measure() for _ in range(TIMES))


def _asked(api, path, query):
    began = time.perf_counter()
    _kept(api.call("GET", path, query))
    return (time.perf_counter() - began) * 1000


def _timed(command):
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000


def _first_line(command):
    """From the start of the program to its first row; the rest is not read."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        child.stdout.readline()
        took = (time.perf_counter() - began) * 1000
        child.kill()
    return took


def _dump(command):
    """Milliseconds, and the megabytes that the program took at most."""
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"bench: the dump ended with {child.returncode}")
    return (time.perf_counter() - began) * 1000, usage.ru_maxrss / 1024

"""The figure of a failover of 1,000 VIPs: how long a neighbour waits for the last of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from failover import Pair
from figures import Figure
from lab import ROOT, Lab

VIPS = 1000
LIMIT = 1000
HEARTBEATS = 240
ASKED_SECONDS = 8
TOPOLOGY = """
name: vips
networks:
  front: {subnet: 10.20.0.0/16}
  back:  {subnet: 10.30.0.0/24}
serviceengines:
  se1: {interfaces: {eth1: {network: front, ip: 10.20.0.11}, eth2: {network: back, ip: 10.30.0.11}}}
  se2: {interfaces: {eth1: {network: front, ip: 10.20.0.12}, eth2: {network: back, ip: 10.30.0.12}}}
hosts:
  client: {network: front, ip: 10.20.0.100}
"""
SERVICE = {
    "pool_ref": "p",
    "application_profile_ref": "System-L4-Application",
    "network_profile_ref": "System-TCP-Fast-Path",
}
LEGACY = "configure serviceenginegroup Default-Group\nha_mode ha_mode_legacy_active_standby\nsave\n"


def _vip(number):
    return f"10.20.{1 + number // 250}.{number % 250 + 1}"


class ManyVips(Lab):
    """Two engines that answer for 1,000 addresses."""

    def _build(self):
        topology = Path(self.folder.name) / "vips.yaml"
        topology.write_text(TOPOLOGY)
        self._run("avishd", "up", str(topology), "--home", str(self.home), "--prefix", self.prefix)
        script = Path(self.folder.name) / "pair.avi"
        script.write_text(LEGACY)
        self._run("avish", "--home", str(self.home), "--min-output", "--file", str(script))
        pool = {"name": "p", "servers": [{"ip": {"addr": "10.30.0.101", "type": "V4"}, "port": 80}]}
        bodies = [("pool", pool)]
        for number in range(VIPS):
            vip = {"vip_id": "1", "ip_address": {"addr": _vip(number), "type": "V4"}}
            service = {"name": f"v{number}", "services": [{"port": 80}], "vsvip_ref": f"v{number}", **SERVICE}
            bodies += [("vsvip", {"name": f"v{number}", "vip": [vip]}), ("virtualservice", service)]
        requests = [{"method": "POST", "path": f"/api/{kind}", "body": body} for kind, body in bodies]
        answer = self.client().call("POST", "/api/transaction", body={"requests": requests})
        if answer.status >= 400:
            raise SystemExit(f"bench: {VIPS} services were refused: {str(answer.body)[:300]}")

    def ask(self, vip):
        """A process that asks for a VIP every 5 ms, and prints its longest wait."""
        inside = ["ip", "netns", "exec", f"{self.prefix}-client"]
        argv = [*inside, sys.executable, str(ROOT / "tests/namespaces/gaps.py"), vip, str(ASKED_SECONDS)]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def figures(bin_dir):
    """Of the first and the last VIP, the one that is away for longer."""
    with ManyVips(bin_dir) as lab:
        pair = Pair(lab)
        pair.well()
        asking = [lab.ask(_vip(number)) for number in (0, VIPS - 1)]
        pair.ask("drill failover")
        answers = [[int(word) for word in one.communicate()[0].split()] for one in asking]
        if not all(count > 100 for _, count in answers):
            raise SystemExit(f"bench: the VIPs do not answer: {answers}")
        longest = max(gap for gap, _ in answers)
        name = f"failover: {VIPS:,} VIPs, longest gap seen by a neighbour"
        yield Figure(name, longest, HEARTBEATS, "ms", f"at most {LIMIT} ms", longest <= LIMIT, "three heartbeats")


if __name__ == "__main__":
    for figure in figures(Path(sys.executable).parent):
        print(f"{figure.name}: {figure.value:,.0f} ms ({figure.target}: {'met' if figure.met else 'MISSED'})")

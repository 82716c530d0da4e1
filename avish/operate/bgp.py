"""``show serviceengine X bgp``: the peers as configured, and that nobody speaks with them."""

from __future__ import annotations

from typing import Any

from avish.config.config import Body
from avish.errors import ValidationError
from avish.operate.view import View, envelope

SILENT = (
    "no BGP is spoken here: nothing is announced to these peers; give the routers static routes to the VIPs and "
    "floating addresses"
)
IDLE = "Idle (no BGP is spoken here)"


def bgp(view: View, body: Body) -> list[dict[str, Any]]:
    """A message for each VRF of the engine that has a BGP profile."""
    profiles = {vrf["name"]: vrf["bgp_profile"] for vrf in view.config.all("vrfcontext") if vrf.get("bgp_profile")}
    if not profiles:
        raise ValidationError(
            "no VRF has a bgp_profile: there is no BGP to show (configure vrfcontext NAME, bgp_profile)"
        )
    here = [vrf for vrf in view.vrfs(body) if vrf in profiles]
    if not here:
        raise ValidationError(f"{body['name']} is in no VRF with a bgp_profile; there is one in {', '.join(profiles)}")
    return [_runtime(body, vrf, profiles[vrf]) for vrf in here]


def _runtime(body: Body, vrf: str, profile: Body) -> dict[str, Any]:
    return envelope(body) | {
        "name": body["name"],
        "local_as": profile["local_as"],
        "vrf": vrf,
        "active": False,
        "peers": [_peer(profile, peer) for peer in profile.get("peers", [])],
        "debug_info": SILENT,
    }


def _peer(profile: Body, peer: Body) -> dict[str, Any]:
    """A session is made down by ``shutdown``, or was never begun."""
    addresses: dict[str, Any] = {name: peer[name] for name in ("peer_ip", "peer_ip6") if name in peer}
    return {
        "remote_as": profile["local_as"] if profile.get("ibgp") else peer.get("remote_as", 0),
        **addresses,
        "active": False,
        "bgp_state": "Idle (Admin)" if peer.get("shutdown") else IDLE,
        "bfd": bool(peer.get("bfd")),
        "advertise_snat_ip": bool(peer.get("advertise_snat_ip")),
        "vs_names": [],
        "routes": [],
    }

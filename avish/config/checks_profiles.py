"""Checks of profiles and monitors: what is asked for has to be said, and must not contradict itself."""

from __future__ import annotations

from collections.abc import Iterator

from avish.config.checked import Checked
from avish.errors import Issue

LEGACY = "HA_MODE_LEGACY_ACTIVE_STANDBY"
L4 = "APPLICATION_PROFILE_TYPE_L4"
ASKED_FOR = {
    "HEALTH_MONITOR_EXTERNAL": ("external_monitor", "command_code TEXT"),
    "HEALTH_MONITOR_DNS": ("dns_monitor", "query_name NAME"),
    "HEALTH_MONITOR_FTP": ("ftp_monitor", "filename PATH"),
    "HEALTH_MONITOR_FTPS": ("ftps_monitor", "filename PATH"),
    "HEALTH_MONITOR_LDAP": ("ldap_monitor", "base_dn NAME"),
    "HEALTH_MONITOR_LDAPS": ("ldaps_monitor", "base_dn NAME"),
    "HEALTH_MONITOR_RADIUS": ("radius_monitor", "username NAME"),
}
"""Kind of monitor that cannot test without being told what to ask: where that stands."""
OF_ANOTHER_KIND = ("tcp", "udp", "http", "https", "external", "dns", "ftp", "ftps", "radius", "sip", "sctp")


def ftp_profile_follows_something(checked: Checked) -> Iterator[Issue]:
    """An FTP profile that leaves both modes out would follow nothing."""
    ftp = checked.body.get("tcp_app_profile", {}).get("ftp_profile", {})
    if ftp.get("deactivate_active") and ftp.get("deactivate_passive"):
        yield checked.error(
            "tcp_app_profile.ftp_profile",
            "active and passive FTP are both deactivated, so nothing is left to follow; "
            "set no deactivate_active or no deactivate_passive, or no ftp_profile at all",
        )


def preserved_port_needs_address(checked: Checked) -> Iterator[Issue]:
    """The client's port means something beside the client's address only."""
    if checked.body.get("preserve_client_port") and not checked.body.get("preserve_client_ip"):
        yield checked.warning("preserve_client_port", "is without effect as long as preserve_client_ip is off")


def preserved_destination_is_layer_4(checked: Checked) -> Iterator[Issue]:
    """What the client asked for is kept at layer 4 only."""
    body = checked.body
    if body.get("preserve_dest_ip_port") and body["type"] != L4:
        yield checked.error(
            "preserve_dest_ip_port",
            f"needs a layer 4 profile, but type is {body['type']}; set type {L4.lower()}, or no preserve_dest_ip_port",
        )


def preserve_client_ip_in_legacy_ha(checked: Checked) -> Iterator[Issue]:
    """Replies to the client's own address find their way only where one engine is everybody's gateway."""
    config, body = checked.config, checked.body
    profile = config.target(body.get("application_profile_ref"))
    group = config.target(body.get("se_group_ref"))
    if profile and group and profile.get("preserve_client_ip") and group["ha_mode"] != LEGACY:
        yield checked.warning(
            "application_profile_ref",
            f"{profile['name']} preserves the client's address, but serviceenginegroup {group['name']} is not legacy "
            f"active/standby: replies of servers may pass another engine (ha_mode {LEGACY.lower()} there)",
        )


def monitor_complete(checked: Checked) -> Iterator[Issue]:
    """A monitor is told what to ask, under the name of its kind."""
    body = checked.body
    kind = body["type"]
    place, example = ASKED_FOR.get(kind, ("", ""))
    if place and not body.get(place):
        yield checked.error(place, f"is missing: type is {kind} ({place}, then {example})")
    own = kind.removeprefix("HEALTH_MONITOR_").lower()
    for other in OF_ANOTHER_KIND:
        if other != own and body.get(f"{other}_monitor"):
            yield checked.warning(f"{other}_monitor", f"is kept without effect: type is {kind}")


def one_lost_ping_is_no_failure(checked: Checked) -> Iterator[Issue]:
    """A single packet may get lost without anything being wrong."""
    if checked.body["type"] == "HEALTH_MONITOR_PING" and checked.body["failed_checks"] == 1:
        yield checked.warning(
            "failed_checks", "1 takes a server out for one lost packet; 2 or more are advised (failed_checks 2)"
        )

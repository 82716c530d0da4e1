"""Checks of the system's own settings: the controller, its cluster, alerts, schedules and backups."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from avish.config.checked import Checked
from avish.errors import Issue

LEAST_WARNINGS = 3
WATCHED = {
    "EVENT_LOGS": "sys_event_rule",
    "CONN_LOGS": "conn_app_log_rule",
    "APP_LOGS": "conn_app_log_rule",
    "METRICS": "metrics_rule",
}
"""Source of an alert: the part of its rule that says what is watched."""
REMOTE = ("remote_hostname", "remote_directory", "ssh_user_ref")
CLUSTER_SIZES = (1, 3)


def certificate_warnings(checked: Checked) -> Iterator[Issue]:
    """The vendor wants at least three warnings before a certificate ends."""
    days = checked.body.get("ssl_certificate_expiry_warning_days", [])
    if len(set(days)) != len(days):
        yield checked.error("ssl_certificate_expiry_warning_days", "a day stands there twice; give each once")
    elif days and len(days) < LEAST_WARNINGS:
        yield checked.error(
            "ssl_certificate_expiry_warning_days",
            f"{len(days)} are too few: give at least {LEAST_WARNINGS} different numbers of days",
        )


def ntp_keys_known(checked: Checked) -> Iterator[Issue]:
    """A time server proves its answers with a key that is there."""
    ntp = checked.body.get("ntp_configuration", {})
    known = {key["key_number"] for key in ntp.get("ntp_authentication_keys", [])}
    for number, server in enumerate(ntp.get("ntp_servers", []), 1):
        wanted = server.get("key_number")
        if wanted is not None and wanted not in known:
            yield checked.error(
                f"ntp_configuration.ntp_servers[{number}].key_number",
                f"there is no key {wanted}; add it first (ntp_authentication_keys key_number {wanted}), "
                "or leave key_number out",
            )


def alert_rule_complete(checked: Checked) -> Iterator[Issue]:
    """A rule watches what its source brings. Events may be left open: all of them are meant then."""
    rule, source = checked.body["alert_rule"], checked.body["source"]
    wanted = WATCHED[source]
    if source != "EVENT_LOGS" and not rule.get(wanted):
        yield checked.error(f"alert_rule.{wanted}", f"is missing: source is {source} (alert_rule, then {wanted})")
    for name in dict.fromkeys(WATCHED.values()):
        if name != wanted and rule.get(name):
            yield checked.error(f"alert_rule.{name}", f"does not go with source {source}; take it out (no {name})")


def schedule_complete(checked: Checked) -> Iterator[Issue]:
    """A schedule says when, and what then."""
    body = checked.body
    if body.get("run_mode") == "RUN_MODE_PERIODIC":
        for name in ("frequency", "frequency_unit"):
            if not body.get(name):
                yield checked.error(name, "is missing: run_mode is periodic (frequency NUMBER, frequency_unit UNIT)")
    if body.get("run_mode") == "RUN_MODE_AT" and not body.get("start_date_time"):
        yield checked.error("start_date_time", "is missing: run_mode is at (start_date_time 2030-01-31T23:00:00)")
    for name in ("start_date_time", "end_date_time"):
        if body.get(name) and not _is_time(body[name]):
            yield checked.error(name, f"{body[name]!r} is no time; write it as 2030-01-31T23:00:00")
    if body["scheduler_action"] == "SCHEDULER_ACTION_BACKUP" and not body.get("backup_config_ref"):
        yield checked.error("backup_config_ref", "is missing: the action is a backup (backup_config_ref NAME)")
    if body["scheduler_action"] == "SCHEDULER_ACTION_RUN_A_SCRIPT" and not body.get("run_script_ref"):
        yield checked.error("run_script_ref", "is missing: the action is a script (run_script_ref NAME)")


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def backup_goes_somewhere(checked: Checked) -> Iterator[Issue]:
    """A copy needs a host, a folder and an account there."""
    missing = [name for name in REMOTE if not checked.body.get(name)]
    if checked.body.get("upload_to_remote_host") and missing:
        yield checked.error(
            "upload_to_remote_host",
            f"{' and '.join(missing)} missing: give {'it' if len(missing) == 1 else 'them'}, "
            "or set no upload_to_remote_host",
        )
    elif checked.body.get("upload_to_remote_host"):
        yield checked.warning(
            "upload_to_remote_host",
            f"the controller logs in as {checked.body['ssh_user_ref']} with a key of its own: put the line of "
            "keys/backup_key.pub (in its home directory) into the authorized_keys of that account",
        )
    if checked.body.get("upload_to_s3"):
        yield checked.warning(
            "upload_to_s3", "is kept; no object store is reached from here (save_local, upload_to_remote_host)"
        )


def cluster_nodes_sound(checked: Checked) -> Iterator[Issue]:
    """One controller, or three; each with its own address."""
    nodes = checked.body.get("nodes", [])
    if nodes and len(nodes) not in CLUSTER_SIZES:
        yield checked.error("nodes", f"{len(nodes)} controllers form no cluster; give one or three")
    seen: dict[str, str] = {}
    for number, node in enumerate(nodes, 1):
        address = node.get("ip", {}).get("addr", "")
        if not address:
            yield checked.error(f"nodes[{number}].ip", "is missing (ip <x.x.x.x>)")
        elif (other := seen.setdefault(address, node["name"])) != node["name"]:
            yield checked.error(f"nodes[{number}].ip", f"{address} is the address of {other} already")
    if len(nodes) > 1:
        yield checked.warning("nodes", "are kept; one controller runs here")


def autoscale_sizes(checked: Checked) -> Iterator[Issue]:
    """The least size is not above the greatest."""
    least, most = checked.body.get("min_size", 0), checked.body.get("max_size")
    if most is not None and least > most:
        yield checked.error("min_size", f"{least} is above max_size {most}; lower it, or raise max_size")

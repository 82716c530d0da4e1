"""``show ftp sessions``: what FTP control connections announced, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from avish.config.config import Body
from avish.operate import filters
from avish.operate.flows import TCP, phase
from avish.operate.listing import Listing
from avish.operate.marks import describe
from avish.operate.view import View, time_text
from dataplane.errors import DataplaneError
from dataplane.model import EVERY_FLOW, NAT_MARK, Row

EARLY = 2.0
"""Seconds a data connection may seem to be older than its announcement: ages are whole seconds."""
LATE = 120.0
PATIENCE = 5.0
"""Seconds after which a data connection that did not come is missed."""
SILENT = 3.0
"""Seconds after which a server that has not answered the SYN of a client counts as silent."""
UNANSWERED = ("setup", "noresponse")


def sessions(view: View, body: Body) -> Listing:  # noqa: ARG001  (the rows of all engines)
    """One row for each control connection, the oldest first; ``transfer``: the last data connection it asked for."""
    return Listing({}, "session", _rows(view))


def _rows(view: View) -> Iterator[dict[str, Any]]:
    for seen in view.engines.values():
        try:
            book = seen.driver.facts("ftp")
            flows = _flows(seen.driver) if book else []
        except DataplaneError:
            continue
        for session in book:
            row = _session(view, seen.name, session, flows)
            if _wanted(view.query, row):
                yield row


def _wanted(query: filters.Query, row: dict[str, Any]) -> bool:
    client = row["client"].rpartition(":")[0]
    return query.get("client_ip", client) == client and ("failed" in row or not filters.flag(query, "failed"))


def _flows(driver: Any) -> list[Row]:
    """All connections that are open or ended lately, each with when it began, in seconds since the epoch."""
    now = time.time()
    found = [{**row, "began": _began(row, now), "over": False} for row in driver.flows(0, 0, EVERY_FLOW)]
    ended = driver.facts("finished_last")
    return found + [{**row, "began": _began(row, row["ended"]), "over": True} for row in ended]


def _began(row: Row, at: float) -> float:
    return at - (row["age"] or 0)


def _session(view: View, engine: str, session: Row, flows: list[Row]) -> dict[str, Any]:
    control = _control(session, flows)
    owner = describe(view.config, view.ids, control["mark"]) if control else {}
    row: dict[str, Any] = {
        "se": engine,
        "client": f"{control['src'] if control else session['client']}:{session['client_port']}",
        "virtualservice": owner.get("virtualservice", "-"),
        "server": f"{session['server']}:{session['server_port']}",
        "user": session["user"] or "-",
        "since": time_text(session["first"]),
        "state": "closed" if session["closed"] else "open",
    }
    if not session["transfers"]:
        why = _silence(session, control)
        return row | {"transfers": 0, "mode": "-"} | ({"failed": why, "result": why} if why else {})
    last = session["transfers"][-1]
    return row | {"transfers": len(session["transfers"])} | _transfer(view, session, last, control, flows)


def _silence(session: Row, control: Row | None) -> str:
    """Why there is no session yet; "" when the server has answered, or still may."""
    if control is None or phase(control) not in UNANSWERED or time.time() - session["first"] < SILENT:
        return ""
    return (
        f"{session['server']} did not answer the client's SYN: its way back to {control['reply_dst']} (gateway: is it "
        "this engine?), a firewall, or the server is down"
    )


def _control(session: Row, flows: list[Row]) -> Row | None:
    """The kernel's entry of the control connection, from client to server."""
    wanted = (session["server"], session["server_port"], session["client"], session["client_port"])
    found = [f for f in flows if (f["reply_src"], f["reply_sport"], f["src"], f["sport"]) == wanted]
    return min(found, key=lambda f: abs(f["began"] - session["first"]), default=None)


def _transfer(view: View, session: Row, transfer: Row, control: Row | None, flows: list[Row]) -> dict[str, Any]:
    active = transfer["mode"] == "active"
    came = _came(session, transfer, control, flows)
    result: dict[str, Any] = {
        "mode": transfer["mode"],
        "announced": f"{transfer['word']} {transfer['ip']}:{transfer['port']}",
        "command": transfer["command"] or "-",
        "expected": _expected(session, transfer, control),
    }
    if came is not None:
        source = (came["src"], came["sport"])
        seen_as = (came["reply_dst"], came["reply_dport"])
        result["came"] = f"{source[0]}:{source[1]} > {came['dst']}:{came['dport']}"
        if active:
            result["client_saw"] = f"{seen_as[0]}:{seen_as[1]}"
        owner = describe(view.config, view.ids, came["mark"])
        result["rule"] = owner.get("rule") or owner.get("virtualservice") or "-"
        result["bytes"] = came["bytes"] + came["reply_bytes"]
        result["data_state"] = "ended" if came["over"] else phase(came)
    if transfer["replies"]:
        result["reply"] = transfer["replies"][-1]
    why = _failure(view, session, transfer, control, came)
    return result | ({"failed": why, "result": why} if why else {"result": _outcome(result, came)})


def _outcome(result: dict[str, Any], came: Row | None) -> str:
    if came is None:
        return "waiting for the data connection"
    return f"data connection {result['data_state']}"


def _expected(session: Row, transfer: Row, control: Row | None) -> str:
    if transfer["mode"] == "active":
        source = control["dst"] if control else session["server"]
        return f"{session['server']}:20, seen as {source}:20 > {transfer['ip']}:{transfer['port']}"
    client = control["src"] if control else session["client"]
    target = control["dst"] if control and transfer["word"] == "EPSV" else transfer["ip"]
    return f"{client} > {target}:{transfer['port']}"


def _came(session: Row, transfer: Row, control: Row | None, flows: list[Row]) -> Row | None:
    """The data connection: of the right ends, and begun soon after the announcement."""
    if transfer["mode"] == "active":
        ends = [f for f in flows if f["src"] == session["server"] and f["dst"] == transfer["ip"]]
    else:
        clients = {session["client"], control["src"] if control else session["client"]}
        targets = {transfer["ip"], session["server"], control["dst"] if control else ""}
        ends = [f for f in flows if f["src"] in clients and f["dst"] in targets]
    near = [
        f
        for f in ends
        if f["protocol"] == TCP and f["dport"] == transfer["port"] and -EARLY <= f["began"] - transfer["time"] <= LATE
    ]
    return min(near, key=lambda f: abs(f["began"] - transfer["time"]), default=None)


def _failure(view: View, session: Row, transfer: Row, control: Row | None, came: Row | None) -> str:
    """Why the transfer did not work, as far as it can be told from here; "" when it did, or may still."""
    if came is None:
        return _nothing_came(session, transfer, control)
    if transfer["mode"] == "active":
        if not came["mark"] & NAT_MARK and control is not None and control["mark"]:
            return _not_translated(view, came)
        if phase(came) in UNANSWERED:
            return (
                f"{transfer['ip']} did not answer: a firewall on the way wants another source than "
                f"{came['reply_dst']}:{came['reply_dport']}, or nobody listens there"
            )
    elif phase(came) in UNANSWERED:
        return f"{came['reply_src']}:{came['reply_sport']} did not answer"
    return ""


def _nothing_came(session: Row, transfer: Row, control: Row | None) -> str:
    failed = [reply for reply in transfer["replies"] if reply[:1] in ("4", "5")]
    if not failed and not session["closed"] and time.time() - transfer["time"] < PATIENCE:
        return ""
    said = f"; the server says {failed[-1]!r}" if failed else ""
    if transfer["mode"] == "active":
        where = f"{session['server']} opened no connection to {transfer['ip']}:{transfer['port']} through this engine"
        return f"{where}: is the engine its gateway{said}?"
    if transfer["word"] == "PASV" and control is not None and transfer["ip"] != control["dst"]:
        return (
            f"the client is told the server's own address {transfer['ip']} and does not reach it; the service needs FTP"
        )
    target = control["dst"] if control is not None else transfer["ip"]
    where = f"no connection to {target}:{transfer['port']} came"
    return f"{where}: is the port open on the way, and a port of the service{said}?"


def _not_translated(view: View, came: Row) -> str:
    """Which NAT rule the source port kept it from."""
    text = f"server came from port {came['sport']}"
    for policy in view.config.all("natpolicy"):
        for rule in policy.get("rules", []):
            wanted = ((rule.get("match") or {}).get("services") or {}).get("source_port") or {}
            ports = wanted.get("ports") or []
            if ports and wanted.get("match_criteria", "IS_IN") == "IS_IN" and came["sport"] not in ports:
                listed = ", ".join(map(str, ports))
                return f"{text}; rule {rule['index']} of {policy['name']} wants {listed}"
    return f"{text} and no NAT rule took the connection: the client sees {came['reply_dst']}, not the virtual service"

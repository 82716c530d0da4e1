"""``show ftp sessions``: announcements and connections, joined."""

from __future__ import annotations

import time

import pytest
from test_serviceengine import flow

SERVER, CLIENT, VIP = "10.10.40.101", "10.10.20.100", "10.10.10.50"


@pytest.fixture
def sessions(ftp_rig):
    """A function: the transfer as read along, and the connections of the kernel -> the one row."""

    def row(transfer, *flows, closed=False):
        now = time.time()
        session = {
            "client": CLIENT, "client_port": 44000, "server": SERVER, "server_port": 21, "first": now - 3, "last": now,
            "user": "anonymous", "closed": closed,
            "transfers": [{"time": now - 2, "command": "LIST", "replies": [], **transfer}],
        }  # fmt: skip
        control = flow(mark=1, src=CLIENT, sport=44000, dst=VIP, dport=21, reply_src=SERVER, reply_sport=21,
                       reply_dst=CLIENT, reply_dport=44000, age=3)  # fmt: skip
        ftp_rig.drivers["se1"].fact_values["ftp"] = [session]
        ftp_rig.drivers["se1"].flow_rows = [control, *flows]
        (found,) = ftp_rig.get("/api/ftp/sessions")["session"]
        return found

    return row


ACTIVE = {"mode": "active", "word": "PORT", "ip": CLIENT, "port": 40000}
PASSIVE = {"mode": "passive", "word": "PASV", "ip": SERVER, "port": 5000}


def test_an_active_transfer_that_worked(sessions):
    row = sessions(ACTIVE, flow(age=1, reply_src=CLIENT, reply_sport=40000))
    assert (row["virtualservice"], row["announced"]) == ("ftp-vs", f"PORT {CLIENT}:40000")
    assert (row["came"], row["client_saw"], row["rule"]) == (
        f"{SERVER}:20 > {CLIENT}:40000", f"{VIP}:20", "ftp-nat/1 active-ftp-data",
    )  # fmt: skip
    assert (row["result"], "failed" in row) == ("data connection established", False)


def test_a_server_that_came_from_another_port(sessions):
    data = flow(mark=0, sport=1025, status=0x8, state="SYN_SENT", reply_dst=SERVER, reply_dport=1025, age=1)
    assert sessions(ACTIVE, data)["failed"] == "server came from port 1025; rule 1 of ftp-nat wants 20"


def test_a_client_that_did_not_answer(sessions):
    row = sessions(ACTIVE, flow(state="SYN_SENT", age=1))
    assert row["failed"].startswith(
        f"{CLIENT} did not answer: a firewall on the way wants another source than {VIP}:20"
    )


def test_a_server_that_opened_nothing(sessions):
    row = sessions(ACTIVE | {"replies": ["425 Failed to establish connection."]})
    assert "opened no connection" in row["failed"]
    assert "425 Failed" in row["failed"]


def test_a_passive_transfer_that_never_came(sessions):
    assert sessions(PASSIVE)["result"] == "waiting for the data connection"
    assert "server's own address" in sessions(PASSIVE, closed=True)["failed"]


def test_an_old_connection_of_the_same_ends_is_not_it(sessions):
    row = sessions(ACTIVE, flow(age=900))
    assert "came" not in row


def test_a_server_that_does_not_answer_at_all(ftp_rig):
    now = time.time()
    session = {"client": CLIENT, "client_port": 44000, "server": SERVER, "server_port": 21, "first": now - 4,
               "last": now, "user": "", "closed": False, "transfers": []}  # fmt: skip
    control = flow(mark=1, src=CLIENT, sport=44000, dst=VIP, dport=21, reply_src=SERVER, reply_sport=21,
                   reply_dst=CLIENT, reply_dport=44000, age=4, state="SYN_SENT", status=0)  # fmt: skip
    driver = ftp_rig.drivers["se1"]
    driver.fact_values["ftp"], driver.flow_rows = [session], [control]
    (row,) = ftp_rig.get("/api/ftp/sessions")["session"]
    assert row["failed"].startswith(f"{SERVER} did not answer the client's SYN: its way back to {CLIENT}")
    assert ftp_rig.get("/api/ftp/sessions", client_ip=CLIENT, failed="1")["session"] == [row]
    assert ftp_rig.get("/api/ftp/sessions", client_ip="10.10.20.99")["session"] == []
    driver.fact_values["ftp"] = [session | {"first": now}]
    assert ftp_rig.get("/api/ftp/sessions", failed="1")["session"] == []
    assert "failed" not in ftp_rig.get("/api/ftp/sessions")["session"][0]
    driver.fact_values["ftp"], driver.flow_rows = [session], [control | {"state": "ESTABLISHED"}]
    assert "failed" not in ftp_rig.get("/api/ftp/sessions")["session"][0]

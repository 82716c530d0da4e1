"""Debug objects: one for every object that lends its name, stored or not; and the captures their flags ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from avish.config.config import Body, Config
from avish.config.normalise import normalise
from avish.config.transaction import Prepared
from avish.controller.captures import CaptureJob, Captures
from avish.controller.commit import Outcome
from avish.controller.limits import Limits
from avish.errors import ValidationError
from avish.schema.model import ObjectType

KIND = "debugserviceengine"
FLAG = "DEBUG_PCAP_NAT"
STATUS = "capture_status"
"""Key of the capture's state in a body; not part of the object."""


def debug_uuid(kind: ObjectType, lender: Body) -> str:
    """The uuid of the debug object of ``lender``: the same but for the type."""
    return f"{kind.name}-{str(lender['uuid']).partition('-')[2]}"


def all_bodies(config: Config, kind: ObjectType) -> Iterator[Body]:
    """Every debug object of a type, in the order of the objects they belong to."""
    for lender in config.all(kind.names):
        yield _stored(config, kind, lender) or _default(config, kind, lender)


def body_of(config: Config, kind: ObjectType, uuid: str) -> Body | None:
    """The debug object of that uuid, None when nothing lends it a name."""
    lender = config.get(kind.names, f"{kind.names}-{uuid.partition('-')[2]}")
    if lender is None or uuid != debug_uuid(kind, lender):
        return None
    return _stored(config, kind, lender) or _default(config, kind, lender)


def named(config: Config, kind: ObjectType, name: str) -> Body | None:
    """The debug object of the object called ``name``."""
    lender = config.named(kind.names, name)
    return body_of(config, kind, debug_uuid(kind, lender)) if lender else None


def _stored(config: Config, kind: ObjectType, lender: Body) -> Body | None:
    return config.get(kind.name, debug_uuid(kind, lender))


def _default(config: Config, kind: ObjectType, lender: Body) -> Body:
    body, _ = normalise(config, kind, {"name": lender["name"]}, None, debug_uuid(kind, lender))
    return body


def flagged(body: Body | None) -> bool:
    """Whether the object asks for the NAT capture."""
    return body is not None and any(entry.get("flag") == FLAG for entry in body.get("flags", []))


class CaptureSwitch:
    """Starts and stops captures as the flags of debugserviceengine objects say when they are saved."""

    def __init__(self, captures: Captures) -> None:
        self._captures = captures

    def effect(self, user: str) -> CaptureEffect:
        """What one change of ``user`` does to the captures."""
        return CaptureEffect(self._captures, user)

    def status(self, body: Body) -> dict[str, Any] | None:
        """State of the capture: "running", or "armed" when the flag is set and none runs; None when neither."""
        job = self._captures.job(body["name"])
        if job is None or job.state != "running":
            if not flagged(body):
                return None
            return {"state": "armed, not running", **(_figures(job) if job else {})}
        return {"state": "running", **_figures(job)}

    def events(self, body: Body) -> Iterator[dict[str, Any]]:
        """Follow the latest capture of an engine."""
        job = self._captures.job(body["name"])
        if job is None:
            raise ValidationError(
                f"no capture has run on {body['name']} since the controller started: set flag debug_pcap_nat and save",
                status=404,
            )
        return job.subscribe()


class CaptureEffect:
    """The Effect of one commit: captures start before it is kept, and those whose flag is gone end after it."""

    def __init__(self, captures: Captures, user: str) -> None:
        self._captures = captures
        self._user = user
        self._started: list[str] = []

    def begin(self, prepared: Prepared) -> None:
        """Start what is asked for and does not run, also when the objects were saved as they are."""
        for kind, uuid in prepared.written:
            body = prepared.config.get(kind, uuid) if kind == KIND else None
            if body is not None and flagged(body):
                self._start(body)

    def undo(self) -> None:
        """End what ``begin`` started."""
        for name in self._started:
            self._captures.stop(name, "the change was refused")

    def settle(self, outcome: Outcome) -> None:
        """End the captures whose flag, or whose engine, is gone."""
        for change in outcome.changes:
            body = change.body or outcome.old.get(change.type, change.uuid)
            if change.type == KIND and body is not None and not flagged(change.body):
                self._captures.stop(body["name"], f"stopped by {self._user}")

    def _start(self, body: Body) -> None:
        """Start a capture; one that runs with other limits ends for it."""
        name, given = body["name"], body.get("capture_params") or {}
        wanted = given.get("num_pkts"), given.get("pkt_size"), given.get("duration")
        running = self._captures.job(name)
        if running is not None and running.state == "running":
            if running.limits == Limits.of(*wanted):
                return
            self._captures.stop(name, "other limits were given; a new capture begins")
        packets, size, minutes = wanted
        self._captures.start(name, user=self._user, num_pkts=packets, pkt_size=size, duration_min=minutes)
        self._started.append(name)


def _figures(job: CaptureJob) -> dict[str, Any]:
    figures: dict[str, Any] = {"file": str(job.file), "packets": job.packets, "bytes": job.bytes, "lost": job.lost}
    limits = {name: value for name, value in job.limits.as_dict().items() if value is not None}
    return figures | ({"ended": job.reason} if job.reason else {"limits": limits})

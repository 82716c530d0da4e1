"""Debug objects: one for every object that lends its name, stored or not; and the captures their flags ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from avish.config.config import Body, Config
from avish.config.normalise import normalise
from avish.config.transaction import Delete, Put
from avish.controller.captures import CaptureJob, Captures
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

    def effect(self, requests: Iterable[Put | Delete], user: str) -> Callable[[Config], Callable[[], None]] | None:
        """What to do before the requests are kept: start the captures they ask for. None: nothing."""
        uuids = [one.uuid for one in requests if isinstance(one, Put) and one.type == KIND and one.uuid]
        if not uuids:
            return None

        def start(config: Config) -> Callable[[], None]:
            bodies = [config.get(KIND, uuid) for uuid in uuids]
            started = [body["name"] for body in bodies if body and flagged(body) and self._start(body, user)]
            return lambda: self._stop_all(started, "the change was refused")

        return start

    def settle(self, config: Config, requests: Iterable[Put | Delete], old: Config, user: str) -> None:
        """After the requests were kept: stop the captures whose flag is gone."""
        for one in requests:
            if one.type == KIND and one.uuid and not flagged(config.get(KIND, one.uuid)):
                body = config.get(KIND, one.uuid) or old.get(KIND, one.uuid)
                self._stop_all([body["name"]] if body else [], f"stopped by {user}")

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

    def _start(self, body: Body, user: str) -> bool:
        running = self._captures.job(body["name"])
        if running is not None and running.state == "running":
            return False
        given = body.get("capture_params") or {}
        self._captures.start(
            body["name"],
            user=user,
            num_pkts=given.get("num_pkts"),
            pkt_size=given.get("pkt_size"),
            duration_min=given.get("duration"),
        )
        return True

    def _stop_all(self, names: Iterable[str], reason: str) -> None:
        for name in names:
            self._captures.stop(name, reason)


def _figures(job: CaptureJob) -> dict[str, Any]:
    figures: dict[str, Any] = {"file": str(job.file), "packets": job.packets, "bytes": job.bytes, "lost": job.lost}
    limits = {name: value for name, value in job.limits.as_dict().items() if value is not None}
    return figures | ({"ended": job.reason} if job.reason else {"limits": limits})

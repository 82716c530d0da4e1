"""Debug objects: one for every object that lends its name, stored or not; and the captures they ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from avish.config.config import Body, Config
from avish.config.normalise import normalise
from avish.config.transaction import Prepared
from avish.controller.capture_job import CaptureJob
from avish.controller.captures import Captures
from avish.controller.commit import Outcome
from avish.controller.wanted import OBJECTS, Wanted, kinds, wanted
from avish.errors import ValidationError
from avish.schema.model import ObjectType

STATUS = "capture_status"
"""Key of the capture's state in a body; not part of the object."""
RESOURCES = (("capture",), ("capture", "file"))
"""What lies below a debug object: the packets as they come, and the file of the latest capture."""


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


def owned(config: Config, kind: ObjectType, body: Body) -> Body:
    """A debug object with the tenant of the object that lends it its name: it belongs there. Others as they are."""
    if not kind.names:
        return body
    lender = config.get(kind.names, f"{kind.names}-{str(body['uuid']).partition('-')[2]}") or {}
    return {**body, "tenant_ref": lender.get("tenant_ref", "")}


def _stored(config: Config, kind: ObjectType, lender: Body) -> Body | None:
    return config.get(kind.name, debug_uuid(kind, lender))


def _default(config: Config, kind: ObjectType, lender: Body) -> Body:
    body, _ = normalise(config, kind, {"name": lender["name"]}, None, debug_uuid(kind, lender))
    return body


class CaptureSwitch:
    """Starts and stops captures as debug objects say when they are saved."""

    def __init__(self, captures: Captures) -> None:
        self._captures = captures

    def effect(self, user: str) -> CaptureEffect:
        """What one change of ``user`` does to the captures."""
        return CaptureEffect(self._captures, user)

    def status(self, kind: str, body: Body) -> dict[str, Any] | None:
        """State of the capture: "running", or "armed" when one is asked for and none runs; None when neither."""
        if kind not in OBJECTS:
            return None
        job = self._captures.job((kind, body["uuid"]))
        if job is None or job.state != "running":
            if not kinds(kind, body):
                return None
            return {"state": "armed, not running", **(_figures(job) if job else {})}
        return {"state": "running", **_figures(job)}

    def below(self, kind: str, body: Body, rest: tuple[str, ...], query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """The stream of a resource below a debug object. ValidationError (404) when no capture ran."""
        job = self._captures.job((kind, body["uuid"]))
        if rest == ("capture", "file"):
            kept = self._captures.folder.latest((kind, body["uuid"]))
            if kept is None:
                raise self._none(kind, body)
            return self._captures.folder.download(kept)
        if job is None:
            raise self._none(kind, body)
        if query.get("form") == "pcapng":
            return job.export()
        interface = query.get("interface", "")
        if interface:
            self._captures.require_interface(job, interface)
        return job.subscribe(interface)

    @staticmethod
    def _none(kind: str, body: Body) -> ValidationError:
        how = "set a debug_pcap flag" if kind == OBJECTS[0] else "set capture"
        return ValidationError(f"no capture of {body['name']} is here: {how} in its debug object and save", status=404)


class CaptureEffect:
    """The Effect of one commit: captures start before it is kept, and those no longer asked for end after it."""

    def __init__(self, captures: Captures, user: str) -> None:
        self._captures = captures
        self._user = user
        self._started: list[tuple[str, str]] = []

    def judge(self, prepared: Prepared) -> None:
        """Refuse what cannot be captured."""
        for _ in self._asked(prepared):
            pass

    def begin(self, prepared: Prepared) -> None:
        """Start what is asked for and does not run, also when the objects were saved as they are."""
        for asked in self._asked(prepared):
            self._start(asked)

    def notes(self, prepared: Prepared) -> Mapping[str, Any]:  # noqa: ARG002  (the Effect's signature)
        """There is nothing to keep."""
        return {}

    def _asked(self, prepared: Prepared) -> Iterator[Wanted]:
        _, ids = self._captures.look()
        for kind, uuid in prepared.written:
            body = prepared.config.get(kind, uuid) if kind in OBJECTS else None
            if body is not None and kinds(kind, body):
                yield wanted(prepared.config, ids, kind, body)

    def undo(self) -> None:
        """End what ``begin`` started."""
        for key in self._started:
            self._captures.stop(key, "the change was refused")

    def settle(self, outcome: Outcome) -> None:
        """End the captures that are asked for no more, or whose engine or service is gone."""
        for change in outcome.changes:
            body = change.body or outcome.old.get(change.type, change.uuid)
            if change.type in OBJECTS and body is not None and not kinds(change.type, change.body):
                self._captures.stop((change.type, body["uuid"]), f"stopped by {self._user}")

    def _start(self, asked: Wanted) -> None:
        """Start a capture; one that runs and was asked for otherwise ends for it."""
        running = self._captures.job(asked.key)
        if running is not None and running.state == "running":
            if (running.wanted.spec, running.wanted.engines, dict(running.wanted.params)) == (
                asked.spec, asked.engines, dict(asked.params),
            ):  # fmt: skip
                return
            self._captures.stop(asked.key, "something else is asked for; a new capture begins")
        self._captures.start(asked, self._user)
        self._started.append(asked.key)


def _figures(job: CaptureJob) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "file": str(job.files.file),
        "packets": job.packets,
        "bytes": job.files.size,
        "lost": job.lost,
    }
    if job.notes:
        figures["notes"] = list(job.notes)
    limits = {name: value for name, value in job.limits.as_dict().items() if value is not None}
    return figures | ({"ended": job.reason} if job.reason else {"limits": limits})

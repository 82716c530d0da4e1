"""What a debug object asks to be captured. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from avish.config.config import Body, Config
from avish.config.engines import engines
from avish.config.ids import Ids
from avish.config.services import ftp_settings
from avish.config.wellknown import ADMIN_TENANT
from avish.errors import Issue, ValidationError
from avish.operate.marks import pools_of
from dataplane.model import AddressMatch
from dataplane.taps import KINDS, CaptureSpec, FlagMatch, Kind, PacketMatch, PortRange

ENGINE, SERVICE = "debugserviceengine", "debugvirtualservice"
OBJECTS = (ENGINE, SERVICE)
_KIND_OF_FLAG: Mapping[str, tuple[Kind, ...]] = {
    "DEBUG_PCAP_RX": ("rx",),
    "DEBUG_PCAP_TX": ("tx",),
    "DEBUG_PCAP_DROP": ("drop",),
    "DEBUG_PCAP_DOS": ("dos",),
    "DEBUG_PCAP_HM": ("probe",),
    "DEBUG_PCAP_SE_IPC": ("ipc",),
    "DEBUG_PCAP_NAT": ("nat",),
    "DEBUG_PCAP_ROUTING": ("routing",),
}
_OF_AN_ENGINE: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind != "service")
_FILE_OF_KIND: Mapping[Kind, str] = {
    "rx": "core", "tx": "core", "drop": "dropped", "dos": "dos", "probe": "hm", "ipc": "ipc", "nat": "nat",
    "routing": "routing",
}  # fmt: skip
_WORDS: Mapping[Kind, str] = {
    "rx": "packets in", "tx": "packets out", "drop": "drops", "dos": "attacks", "probe": "health probes",
    "ipc": "messages between engines", "nat": "translated flows", "routing": "routed packets",
    "service": "both legs of every connection",
}  # fmt: skip
_FTP = 21
_FLAG_BITS = {"tcp_fin": 1, "tcp_syn": 2, "tcp_rst": 4, "tcp_push": 8, "tcp_ack": 16}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A capture: on which ``engines`` (places), of what; ``key``: type and uuid of the debug object.

    ``stem``: of file names; ``title`` says what is captured, in words.
    """

    key: tuple[str, str]
    name: str
    tenant: str
    engines: tuple[str, ...]
    spec: CaptureSpec
    stem: str
    title: str
    params: Mapping[str, Any]

    def spec_with(self, snaplen: int) -> CaptureSpec:
        """What the taps are asked for."""
        return replace(self.spec, snaplen=snaplen)

    @property
    def subject(self) -> str:
        """As in "serviceengine se1" or "virtualservice web"."""
        return f"{self.key[0].removeprefix('debug')} {self.name}"


def kinds(kind: str, body: Body | None) -> tuple[Kind, ...]:
    """What a debug object asks for; nothing when it asks for no capture."""
    if body is None:
        return ()
    if kind == SERVICE:
        probes = body.get("debug_hm", "DEBUG_VS_HM_NONE")
        either: dict[str, tuple[Kind, ...]] = {
            "DEBUG_VS_HM_ONLY": ("probe",),
            "DEBUG_VS_HM_INCLUDE": ("service", "probe"),
        }
        return either.get(probes, ("service",)) if body.get("capture") else ()
    flags = {entry.get("flag") for entry in body.get("flags", [])}
    if body.get("capture") or "DEBUG_PCAP_ALL" in flags:
        return _OF_AN_ENGINE
    found = {one for flag in flags for one in _KIND_OF_FLAG.get(str(flag), ())}
    return tuple(one for one in KINDS if one in found)


def wanted(config: Config, ids: Ids, kind: str, body: Body) -> Wanted:
    """The capture that ``body`` asks for. Raises ValidationError for what cannot be."""
    made = _of_service if kind == SERVICE else _of_engine
    asked = made(config, ids, body)
    matches = _matches(body, f"{asked.subject} ", hosts=kind == ENGINE)
    return replace(asked, spec=replace(asked.spec, matches=matches))


def _of_engine(config: Config, _ids: Ids, body: Body) -> Wanted:
    """In all its VRFs."""
    every = kinds(ENGINE, body)
    servers = [server["ip"]["addr"] for pool in config.all("pool") for server in pool.get("servers", [])]
    spec = CaptureSpec(every, servers=tuple(dict.fromkeys(servers)) if "probe" in every else ())
    places = tuple(engine.place for engine in engines(config) if engine.name == body["name"])
    files = {_FILE_OF_KIND[one] for one in every}
    stem = f"se_{files.pop() if len(files) == 1 else 'all'}_{_in_file_names(body['name'])}"
    title = f"{', '.join(_WORDS[one] for one in every)} of service engine {body['name']}"
    return _wanted(config, ENGINE, body, places or (body["name"],), spec, stem, title)


def _of_service(config: Config, ids: Ids, body: Body) -> Wanted:
    uuid = str(body["uuid"]).replace("debugvirtualservice-", "virtualservice-", 1)
    service = config.get("virtualservice", uuid)
    number = ids.get("service", uuid)
    if service is None or number is None:
        raise ValidationError(
            f"virtualservice {body['name']} is not saved yet: save it first, then capture", status=404
        )
    servers = [server["ip"]["addr"] for pool in pools_of(config, service) for server in pool.get("servers", [])]
    clients = _addresses(body.get("debug_ip"))
    every = kinds(SERVICE, body)
    spec = CaptureSpec(
        every,
        services=(number,),
        clients=clients,
        servers=tuple(dict.fromkeys(servers)),
        data_ports=(_FTP - 1,) if "service" in every and _is_ftp(config, service) else (),
    )
    places = _places(config, ids, service, body)
    stem = f"vs_{_in_file_names(body['name'])}"
    title = f"{', '.join(_WORDS[one] for one in every)} of virtual service {body['name']}"
    return _wanted(config, SERVICE, {**body, "tenant_ref": service.get("tenant_ref")}, places, spec, stem, title)


def _is_ftp(config: Config, service: Body) -> bool:
    """Whether clients speak FTP to it: then the connections that servers open for data belong to it."""
    return ftp_settings(config, service) is not None or any(
        one.get("port", 0) <= _FTP <= (one.get("port_range_end") or one.get("port", 0))
        for one in service.get("services", [])
    )


def _wanted(
    config: Config, kind: str, body: Body, engines: tuple[str, ...], spec: CaptureSpec, stem: str, title: str
) -> Wanted:
    tenant = config.target(body.get("tenant_ref")) or {"name": ADMIN_TENANT}
    params = body.get("capture_params") or {}
    return Wanted((kind, body["uuid"]), body["name"], tenant["name"], engines, spec, stem, title, params)


def _places(config: Config, ids: Ids, service: Body, body: Body) -> tuple[str, ...]:
    """The engines that carry the service, in its VRF, or of them those that are named."""
    carrying = [one for one in engines(config) if one.carries(service)]
    carrying.sort(key=lambda one: ids.get("engine", one.uuid) or 0)
    names = {one.name: one.place for one in carrying}
    chosen = [config.target(ref) for ref in (body.get("se_params") or {}).get("se_refs", [])]
    asked = [str(one["name"]) for one in chosen if one]
    foreign = [name for name in asked if name not in names]
    if foreign:
        text = f"{foreign[0]} does not carry virtualservice {body['name']}; {', '.join(names) or 'no engine'} does"
        raise ValidationError([Issue("se_params.se_refs", text)])
    if not names:
        raise ValidationError(f"virtualservice {body['name']} is on no service engine: there is nothing to capture")
    return tuple(names[name] for name in asked or names)


def _matches(body: Body, place: str, *, hosts: bool) -> tuple[PacketMatch, ...]:
    """What a packet has to be; of an engine ``debug_ip`` is asked of every packet by itself."""
    base = _filter(body.get("capture_filters") or {}, f"{place}capture_filters")
    own = _addresses(body.get("debug_ip")) if hosts else None
    if own is not None:
        base = replace(base, hosts=(own, *base.hosts))
    entries = (body.get("capture_pkt_filter") or {}).get("capture_tcp_filters", [])
    every = [
        _both(base, _tcp_filter(entry, f"{place}capture_pkt_filter.capture_tcp_filters[{number}]"))
        for number, entry in enumerate(entries, 1)
    ]
    return tuple(every) or (() if base == PacketMatch() else (base,))


def _both(one: PacketMatch, other: PacketMatch) -> PacketMatch:
    return PacketMatch(
        (*one.hosts, *other.hosts),
        (*one.source_ports, *other.source_ports),
        (*one.destination_ports, *other.destination_ports),
        (*one.flags, *other.flags),
        one.tcp or other.tcp,
        one.ipv4 or other.ipv4,
    )


def _filter(body: Body, place: str) -> PacketMatch:
    host = _addresses(body.get("capture_ip"))
    mask = sum(bit for name, bit in _FLAG_BITS.items() if body.get(name))
    return PacketMatch(
        hosts=(host,) if host else (),
        source_ports=_ports(body, "src_port", "src_port_range_end", place),
        destination_ports=_ports(body, "dst_port_start", "dst_port_end", place),
        flags=(FlagMatch(mask),) if mask else (),
        tcp="ip_proto" in body,
        ipv4="eth_proto" in body,
    )


def _tcp_filter(body: Body, place: str) -> PacketMatch:
    host = _addresses(body.get("host_ip"))
    flags = body.get("tcpflag") or {}
    mask = sum(bit for name, bit in _FLAG_BITS.items() if flags.get(name))
    match = FlagMatch(mask, flags.get("filter_op") == "AND", _negated(flags))
    return PacketMatch(
        hosts=(host,) if host else (),
        source_ports=_ports(body.get("src_port_range") or {}, "src_port_start", "src_port_end", place),
        destination_ports=_ports(body.get("dst_port_range") or {}, "dst_port_start", "dst_port_end", place),
        flags=(match,) if mask else (),
        tcp=True,
        ipv4="eth_proto" in body,
    )


def _ports(body: Body, first: str, last: str, place: str) -> tuple[PortRange, ...]:
    begin, end = body.get(first), body.get(last)
    if begin is None and end is None:
        return ()
    begin = begin if begin is not None else 0
    end = end if end is not None else begin
    if end < begin or end > 65535:
        raise ValidationError([Issue(f"{place}.{last}", f"{begin} to {end} is no range of ports")])
    return (PortRange(begin, end, _negated(body)),)


def _negated(body: Body) -> bool:
    return bool(body.get("match_operation") == "IS_NOT_IN")


def _addresses(body: Body | None) -> AddressMatch | None:
    """None when no address is given."""
    found = tuple(_elements(body or {}))
    return AddressMatch(found, _negated(body or {})) if found else None


def _elements(body: Body) -> Iterable[str]:
    yield from (one["addr"] for one in body.get("addrs", []))
    yield from (f"{one['begin']['addr']}-{one['end']['addr']}" for one in body.get("ranges", []))
    yield from (f"{one['ip_addr']['addr']}/{one['mask']}" for one in body.get("prefixes", []))


def _in_file_names(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "_", name)

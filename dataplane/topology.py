"""A topology file as a value: networks, service engines and hosts. Makes nothing; ``lab`` does."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataplane.topology_reader import IpAddress, IpNetwork, Reader, nearest

IpInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

MAIN_VRF = "global"
"""The VRF of an engine's own ``interfaces``."""

BRIDGES = "net"
"""The namespace ``<prefix>-net`` holds the bridges."""

_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_INTERFACE_MAX = 15
_RESERVED_INTERFACES = ("lo", "all", "default")
_INPUT_FILES = (".conf", ".cfg", ".ini", ".py", ".sh")
_COMMANDS = "must be a list of commands, each a list of program and arguments: [[vsftpd, ftp1.conf]]"
_IPV4 = 4
_POINT_TO_POINT = 2
"""A subnet of so many addresses (or fewer) has none set aside for network and broadcast."""

_PACKAGES = {
    "curl": "curl",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "nc": "netcat-openbsd",
    "nft": "nftables",
    "nsenter": "util-linux",
    "python3": "python3-minimal",
    "sh": "dash",
    "sshd": "openssh-server",
    "tcpdump": "tcpdump",
    "unshare": "util-linux",
    "vsftpd": "vsftpd",
}


@dataclass(frozen=True, slots=True)
class Network:
    """A bridge. ``subnets`` are canonical prefixes, "10.0.0.0/24"."""

    name: str
    subnets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Interface:
    """``addresses`` are "ip/len". In a namespace that exists already ``network`` may be "" and ``addresses`` empty."""

    name: str
    network: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Engine:
    """``vrfs``: interfaces by VRF, MAIN_VRF first. ``namespaces``: by VRF, those that exist already ("" is the host's
    own); a VRF that is not in it gets a namespace made for it.
    """

    name: str
    se_group: str
    vrfs: Mapping[str, tuple[Interface, ...]]
    namespaces: Mapping[str, str] = field(default_factory=dict)

    @property
    def namespace(self) -> str | None:
        """The existing namespace of the main VRF ("" is the host's own), None when the lab makes one."""
        return self.namespaces.get(MAIN_VRF)


@dataclass(frozen=True, slots=True)
class Route:
    """``to`` a canonical prefix (a gateway's is "0.0.0.0/0" or "::/0"), ``via`` an address."""

    to: str
    via: str


@dataclass(frozen=True, slots=True)
class Host:
    """``routes`` hold the gateway too, ``nft`` is a file to load, ``run`` the commands to start: program, arguments."""

    name: str
    interfaces: tuple[Interface, ...]
    routes: tuple[Route, ...] = ()
    forward: bool = False
    nft: Path | None = None
    run: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    """What ``path`` (as it was given) describes. Commands run in ``folder``, the file's absolute directory."""

    name: str
    path: Path
    networks: Mapping[str, Network]
    engines: Mapping[str, Engine]
    hosts: Mapping[str, Host]

    @property
    def folder(self) -> Path:
        return self.path.resolve().parent


@dataclass(frozen=True, slots=True)
class Node:
    """A namespace to make. ``suffix`` comes after ``<prefix>-``; ``host`` is None for a VRF of an engine."""

    suffix: str
    interfaces: tuple[Interface, ...]
    host: Host | None = None


def nodes(topology: Topology) -> list[Node]:
    """The namespaces the lab makes, that of the bridges left out."""
    engines = [
        Node(_engine_suffix(engine.name, vrf), interfaces)
        for engine in topology.engines.values()
        for vrf, interfaces in engine.vrfs.items()
        if vrf not in engine.namespaces
    ]
    return engines + [Node(host.name, host.interfaces, host) for host in topology.hosts.values()]


def made_namespaces(topology: Topology, prefix: str) -> list[str]:
    """The names of all namespaces the lab makes; empty when every engine lives in one that exists."""
    made = [f"{prefix}-{node.suffix}" for node in nodes(topology)]
    return [f"{prefix}-{BRIDGES}", *made] if made else []


def engine_namespaces(topology: Topology, prefix: str) -> dict[str, dict[str, str]]:
    """Namespace by engine and VRF; "" is the host's own."""
    return {
        engine.name: {
            vrf: engine.namespaces.get(vrf, f"{prefix}-{_engine_suffix(engine.name, vrf)}") for vrf in engine.vrfs
        }
        for engine in topology.engines.values()
    }


def _engine_suffix(engine: str, vrf: str) -> str:
    return engine if vrf == MAIN_VRF else f"{engine}-{vrf}"


def load(path: Path | str) -> Topology:
    """The topology in the file ``path``; programs, rule files and configurations it names must be there.

    Raises LabError with one line ``FILE: path.to.key: reason`` per problem.
    """
    reader = _TopologyReader(Path(path))
    topology = _topology(reader)
    reader.finish()
    return topology


def search_path() -> str:
    """PATH, and the administrator's directories that an ordinary login leaves out of it."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def missing_program(name: str) -> str | None:
    """What to do about the program ``name``; None when it is installed."""
    if shutil.which(name, path=search_path()):
        return None
    package = _PACKAGES.get(name)
    remedy = f"apt-get install {package}" if package else f"install the Debian package that holds it, perhaps {name!r}"
    return f"program {name!r} is not installed: {remedy}"


class _TopologyReader(Reader):
    """Also remembers the networks, and which address was given where."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.folder = path.resolve().parent
        self.networks: dict[str, Network] = {}
        self.taken: dict[tuple[str, IpAddress], str] = {}


def _topology(reader: _TopologyReader) -> Topology:
    document = reader.document()
    top = reader.mapping(document, "", ("name", "networks", "serviceengines", "hosts"))
    name = reader.text(top, "name", "")
    subnets = _read_networks(reader, top.get("networks"))
    engines = [_engine(reader, *item) for item in reader.named(top.get("serviceengines"), "serviceengines")]
    hosts = [_host(reader, *item) for item in reader.named(top.get("hosts"), "hosts")]
    topology = Topology(name, reader.path, reader.networks, {e.name: e for e in engines}, {h.name: h for h in hosts})
    _check_namespaces(reader, topology)
    _check_overlaps(reader, subnets, _parts(topology))
    return topology


def _check_namespaces(reader: Reader, topology: Topology) -> None:
    """An engine, a VRF of an engine and a host must not come to the same namespace."""
    uses = Counter([BRIDGES, *(node.suffix for node in nodes(topology))])
    for suffix in (suffix for suffix, count in uses.items() if count > 1):
        owner = "the networks" if suffix == BRIDGES else "another engine, VRF or host"
        place = f"hosts.{suffix}" if suffix in topology.hosts else "serviceengines"
        reader.problem(place, f"the name {suffix!r} is taken by {owner}: both would be namespace PREFIX-{suffix}")


def _read_networks(reader: _TopologyReader, value: Any) -> list[tuple[IpNetwork, str]]:
    """Every subnet, and the network that has it."""
    subnets: list[tuple[IpNetwork, str]] = []
    for name, where, entry in reader.named(value, "networks"):
        keys = reader.mapping(entry, where, ("subnet",))
        found = [_subnet(reader, text, f"{where}.subnet") for text in reader.texts(keys, "subnet", where)]
        good = [subnet for subnet in found if subnet is not None]
        subnets += [(subnet, name) for subnet in good]
        reader.networks[name] = Network(name, tuple(str(subnet) for subnet in good))
    return subnets


def _subnet(reader: Reader, text: str, where: str) -> IpNetwork | None:
    subnet = reader.prefix(text, where)
    if subnet is not None and (subnet.prefixlen == 0 or subnet.is_multicast or subnet.is_loopback):
        reader.problem(where, f"{subnet} cannot be the subnet of a network")
        return None
    return subnet


def _parts(topology: Topology) -> dict[str, str]:
    """By network, a name that it shares with all that packets get to from it; nothing for one that nobody is in."""
    part: dict[str, str] = {}
    for node in nodes(topology):
        names = [interface.network for interface in node.interfaces if interface.network]
        joined = {part.get(name, name) for name in names}
        for name in names:
            part.setdefault(name, name)
        part.update({name: names[0] for name, other in part.items() if other in joined or name in names})
    return part


def _check_overlaps(reader: Reader, subnets: list[tuple[IpNetwork, str]], part: Mapping[str, str]) -> None:
    """Two prefixes nest or are apart: sorted, each is compared with the last one that lies in no other.

    What no packet can get to from the other (another VRF, say) may have the same addresses.
    """
    outer: dict[str, tuple[IpNetwork, str]] = {}
    for subnet, name in sorted(subnets, key=lambda item: (item[0].version, int(item[0][0]), item[0].prefixlen)):
        mine = part.get(name, "")
        rivals = [(key, found) for key, found in outer.items() if "" in (mine, key) or key == mine]
        clash = next((found for _, found in rivals if subnet.overlaps(found[0])), None)
        if clash:
            reader.problem(f"networks.{name}.subnet", f"{subnet} overlaps {clash[0]} of networks.{clash[1]}.subnet")
        else:
            outer[mine] = (subnet, name)


def _engine(reader: _TopologyReader, name: str, where: str, value: Any) -> Engine:
    entry = reader.mapping(value, where, ("se_group", "namespace", "interfaces", "vrfs"))
    read = {MAIN_VRF: _vrf(reader, where, entry)}
    for vrf, place, given in reader.named(entry.get("vrfs"), f"{where}.vrfs"):
        keys = reader.mapping(given, place, ("namespace", "interfaces"))
        if vrf == MAIN_VRF:
            reader.problem(place, f"this VRF is the engine's own: its interfaces belong to {where}.interfaces")
        elif ("namespace" in keys) != ("namespace" in entry):
            reader.problem(f"{place}.namespace", "either all VRFs of an engine name an existing one, or none does")
        else:
            read[vrf] = _vrf(reader, place, keys)
    vrfs = {vrf: interfaces for vrf, (interfaces, _) in read.items()}
    namespaces = {vrf: namespace for vrf, (_, namespace) in read.items() if namespace is not None}
    return Engine(name, reader.text(entry, "se_group", where, "Default-Group"), vrfs, namespaces)


def _vrf(reader: _TopologyReader, where: str, entry: dict[str, Any]) -> tuple[tuple[Interface, ...], str | None]:
    """The interfaces, and the existing namespace they are in, if it is one."""
    namespace = reader.text(entry, "namespace", where) if "namespace" in entry else None
    if not entry.get("interfaces"):
        reader.problem(f"{where}.interfaces", "an engine needs at least one interface")
    interfaces = _interfaces(reader, entry.get("interfaces"), f"{where}.interfaces", existing=namespace is not None)
    return interfaces, "" if namespace == "host" else namespace


def _host(reader: _TopologyReader, name: str, where: str, value: Any) -> Host:
    known = ("network", "ip", "interfaces", "gateway", "routes", "forward", "nft", "run")
    entry = reader.mapping(value, where, known)
    before = len(reader.problems)
    interfaces = _host_interfaces(reader, entry, where)
    # What is wrong with the interfaces is not told once more as an unreachable gateway.
    ports = _ports(interfaces) if len(reader.problems) == before else None
    return Host(
        name,
        interfaces,
        _routes(reader, entry, where, ports),
        reader.switch(entry, "forward", where),
        _rule_file(reader, entry, where),
        _commands(reader, entry.get("run"), f"{where}.run"),
    )


def _host_interfaces(reader: _TopologyReader, entry: dict[str, Any], where: str) -> tuple[Interface, ...]:
    single = {key: value for key, value in entry.items() if key in ("network", "ip")}
    if single and "interfaces" in entry:
        reader.problem(where, "has either network and ip, or interfaces, not both")
    elif single:
        interface = _interface(reader, "eth0", where, single)
        return (interface,) if interface else ()
    elif not entry.get("interfaces"):
        reader.problem(where, "needs network and ip, or interfaces")
    return _interfaces(reader, entry.get("interfaces"), f"{where}.interfaces", existing=False)


def _interfaces(reader: _TopologyReader, value: Any, where: str, *, existing: bool) -> tuple[Interface, ...]:
    """The interfaces of a namespace; of an ``existing`` one the names alone will do, also as a list."""
    if existing and isinstance(value, list) and all(isinstance(name, str) for name in value):
        value = dict.fromkeys(value, "")
    if value and not isinstance(value, dict):
        reader.problem(where, "must be a mapping, interface name to network and ip")
        return ()
    found: list[Interface | None] = []
    for name, given in (value or {}).items():
        place = f"{where}.{name}"
        entry = reader.mapping(given, place, ("network", "ip"))
        if not _good_interface_name(reader, name, place):
            continue
        named_only = existing and not entry
        found.append(Interface(name, "", ()) if named_only else _interface(reader, name, place, entry))
    return tuple(interface for interface in found if interface)


def _good_interface_name(reader: Reader, name: str, where: str) -> bool:
    if len(name) > _INTERFACE_MAX:
        reader.problem(where, f"an interface name has at most {_INTERFACE_MAX} characters, this one has {len(name)}")
    elif not _INTERFACE.fullmatch(name) or name in _RESERVED_INTERFACES:
        reader.problem(where, f"{name!r} cannot be the name of an interface")
    else:
        return True
    return False


def _interface(reader: _TopologyReader, name: str, where: str, entry: dict[str, Any]) -> Interface | None:
    wanted = reader.text(entry, "network", where)
    network = reader.networks.get(wanted)
    if wanted and network is None:
        close = nearest(wanted, tuple(reader.networks))
        reader.problem(f"{where}.network", f"there is no network {wanted!r}{close}")
    texts = reader.texts(entry, "ip", where)
    addresses = [_own_address(reader, text, f"{where}.ip", network) for text in texts]
    return Interface(name, network.name, tuple(filter(None, addresses))) if network else None


def _own_address(reader: _TopologyReader, text: str, where: str, network: Network | None) -> str | None:
    """The address with its prefix length, if it is one of ``network`` that nobody else has."""
    address = reader.address(text, where)
    if address is None or network is None or not network.subnets:
        return None
    subnet = next((found for found in map(ipaddress.ip_network, network.subnets) if address in found), None)
    if subnet is None:
        reader.problem(where, f"{address} is outside {network.name} ({', '.join(network.subnets)})")
    elif subnet.num_addresses > _POINT_TO_POINT and address in (subnet[0], _broadcast(subnet)):
        reader.problem(where, f"{address} is the network or broadcast address of {subnet}")
    elif (network.name, address) in reader.taken:
        reader.problem(where, f"{address} is given to {reader.taken[network.name, address]} already")
    else:
        reader.taken[network.name, address] = where
        return f"{address}/{subnet.prefixlen}"
    return None


def _broadcast(subnet: IpNetwork) -> IpAddress | None:
    return subnet.broadcast_address if subnet.version == _IPV4 else None


def _ports(interfaces: tuple[Interface, ...]) -> list[IpInterface]:
    return [ipaddress.ip_interface(address) for interface in interfaces for address in interface.addresses]


def _neighbour(reader: Reader, text: str, where: str, ports: list[IpInterface] | None) -> IpAddress | None:
    """``text`` as an address reached directly through one of ``ports``; None: they are not known, it is not checked."""
    address = reader.address(text, where)
    if address is None or ports is None:
        return address
    if not any(address in port.network for port in ports):
        networks = ", ".join(str(port.network) for port in ports)
        reader.problem(where, f"{address} is in none of the host's networks ({networks})")
        return None
    if any(address == port.ip for port in ports):
        reader.problem(where, f"{address} is the host's own address")
        return None
    return address


def _routes(reader: Reader, entry: dict[str, Any], where: str, ports: list[IpInterface] | None) -> tuple[Route, ...]:
    given = entry.get("routes") or []
    if not isinstance(given, list):
        reader.problem(f"{where}.routes", "must be a list: [{to: 10.0.0.0/24, via: 10.1.1.1}]")
        given = []
    found = [(f"{where}.gateway", route) for route in _gateways(reader, entry, where, ports)]
    for number, item in enumerate(given):
        place = f"{where}.routes[{number}]"
        route = _route(reader, reader.mapping(item, place, ("to", "via")), place, ports)
        found += [(place, route)] if route else []
    routes: dict[str, Route] = {}
    for place, route in found:
        if routes.setdefault(route.to, route) is not route:
            reader.problem(place, f"there is a route to {route.to} already, via {routes[route.to].via}")
    return tuple(routes.values())


def _gateways(reader: Reader, entry: dict[str, Any], where: str, ports: list[IpInterface] | None) -> list[Route]:
    texts = reader.texts(entry, "gateway", where) if "gateway" in entry else []
    found = [_neighbour(reader, text, f"{where}.gateway", ports) for text in texts]
    return [Route("0.0.0.0/0" if address.version == _IPV4 else "::/0", str(address)) for address in found if address]


def _route(reader: Reader, entry: dict[str, Any], where: str, ports: list[IpInterface] | None) -> Route | None:
    to, via = reader.text(entry, "to", where), reader.text(entry, "via", where)
    prefix = reader.prefix(to, f"{where}.to") if to else None
    gateway = _neighbour(reader, via, f"{where}.via", ports) if via else None
    if prefix is None or gateway is None:
        return None
    if prefix.version != gateway.version:
        reader.problem(where, f"{prefix} and {gateway} are not of the same IP version")
        return None
    return Route(str(prefix), str(gateway))


def _rule_file(reader: _TopologyReader, entry: dict[str, Any], where: str) -> Path | None:
    name = reader.text(entry, "nft", where) if "nft" in entry else ""
    if not name:
        return None
    file = reader.folder / name
    if not file.is_file():
        reader.problem(f"{where}.nft", f"there is no file {file}")
    return file


def _commands(reader: _TopologyReader, value: Any, where: str) -> tuple[tuple[str, ...], ...]:
    commands = value or []
    if not isinstance(commands, list) or not all(isinstance(command, list) for command in commands):
        reader.problem(where, _COMMANDS)
        return ()
    return tuple(_command(reader, command, f"{where}[{number}]") for number, command in enumerate(commands))


def _command(reader: _TopologyReader, command: list[Any], where: str) -> tuple[str, ...]:
    """A command whose program is installed and whose configuration or script files, by their endings, are there."""
    if not command or not all(isinstance(word, str) for word in command):
        reader.problem(where, "must be program and arguments: [vsftpd, ftp1.conf]")
        return ()
    if "/" not in command[0]:
        missing = missing_program(command[0])
    else:
        missing = None if shutil.which(reader.folder / command[0]) else f"{command[0]!r} is not a program"
    if missing:
        reader.problem(where, missing)
    for word in command[1:]:
        file = reader.folder / word
        if word.endswith(_INPUT_FILES) and not word.startswith("-") and not file.is_file():
            reader.problem(where, f"there is no file {file}")
    return tuple(command)

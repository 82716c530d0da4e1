"""Topology files: what is read, and every way in which one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataplane import topology
from dataplane.errors import LabError
from dataplane.topology import Interface, Route

FOUNDING = Path(__file__).parents[2] / "fixtures" / "topologies" / "active-ftp.yaml"

NETWORKS = """
name: t
networks:
  red:  {subnet: 10.1.0.0/24}
  blue: {subnet: [10.2.0.0/24, "2001:db8:2::/64"]}
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "lab.yaml"
    file.write_text(text)
    return file


def problems(folder: Path, text: str) -> list[str]:
    """What is wrong with ``text``, the file's name taken off."""
    file = write(folder, text)
    with pytest.raises(LabError) as caught:
        topology.load(file)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{file}: ") for line in lines)
    return [line.removeprefix(f"{file}: ") for line in lines]


def test_founding_topology() -> None:
    founding = topology.load(FOUNDING)
    assert founding.name == "active-ftp"
    assert founding.networks["back"].subnets == ("10.10.40.0/24",)
    assert founding.engines["se1"].vrfs["global"] == (
        Interface("eth1", "front", ("10.10.10.11/24",)),
        Interface("eth2", "back", ("10.10.40.11/24",)),
    )
    assert founding.hosts["client1"].interfaces == (Interface("eth0", "clients", ("10.10.20.100/24",)),)
    assert founding.hosts["client1"].routes == (Route("0.0.0.0/0", "10.10.20.1"),)
    assert founding.hosts["fw"].forward
    assert founding.hosts["fw"].nft == FOUNDING.parent / "fw.nft"
    assert founding.hosts["ftp2"].run == (("vsftpd", "ftp2.conf"),)
    assert topology.engine_namespaces(founding, "avish") == {
        "se1": {"global": "avish-se1"},
        "se2": {"global": "avish-se2"},
    }
    assert topology.made_namespaces(founding, "x")[:2] == ["x-net", "x-se1"]


def test_both_ip_versions_and_vrfs(tmp_path: Path) -> None:
    text = (
        NETWORKS
        + """
serviceengines:
  se:
    interfaces: {eth1: {network: red, ip: 10.1.0.1}}
    vrfs: {green: {interfaces: {eth2: {network: blue, ip: [10.2.0.1, "2001:db8:2::1"]}}}}
hosts:
  on: {network: blue, ip: "2001:db8:2::5", gateway: "2001:db8:2::1", routes: [{to: "2001:db8:9::/48", via: "2001:db8:2::1"}]}
"""
    )
    read = topology.load(write(tmp_path, text))
    assert read.engines["se"].se_group == "Default-Group"
    assert read.engines["se"].vrfs["green"][0].addresses == ("10.2.0.1/24", "2001:db8:2::1/64")
    assert read.hosts["on"].routes == (Route("::/0", "2001:db8:2::1"), Route("2001:db8:9::/48", "2001:db8:2::1"))
    assert topology.engine_namespaces(read, "p") == {"se": {"global": "p-se", "green": "p-se-green"}}


def test_engines_in_namespaces_that_exist(tmp_path: Path) -> None:
    text = """
name: production
serviceengines:
  se1: {se_group: g, namespace: host, interfaces: [eth0, eth1]}
  se2: {namespace: other, interfaces: {eth0: {}}, vrfs: {blue: {namespace: third, interfaces: [eth1]}}}
"""
    read = topology.load(write(tmp_path, text))
    assert read.engines["se1"].namespace == ""
    assert [port.name for port in read.engines["se1"].vrfs["global"]] == ["eth0", "eth1"]
    assert topology.made_namespaces(read, "p") == []
    assert topology.engine_namespaces(read, "p") == {
        "se1": {"global": ""},
        "se2": {"global": "other", "blue": "third"},
    }


REFUSED = [
    ("colour: red", "colour: unknown key; known: name, networks, serviceengines, hosts"),
    ("serviceengine: {}", "serviceengine: unknown key (did you mean serviceengines?)"),
    (
        "hosts: {h: {network: red, ip: 10.1.0.5, gatway: 10.1.0.1}}",
        "hosts.h.gatway: unknown key (did you mean gateway?)",
    ),
    ("hosts: {h: {network: red, ip: 10.1.0.500}}", "hosts.h.ip: '10.1.0.500' is not an IP address"),
    ("hosts: {h: {network: red, ip: 10.1.0.5/24}}", "hosts.h.ip: '10.1.0.5/24' must be an address without a prefix"),
    ("hosts: {h: {network: red, ip: 10.9.0.5}}", "hosts.h.ip: 10.9.0.5 is outside red (10.1.0.0/24)"),
    ("hosts: {h: {network: red, ip: 10.1.0.255}}", "hosts.h.ip: 10.1.0.255 is the network or broadcast address"),
    ("hosts: {h: {network: reed, ip: 10.1.0.5}}", "hosts.h.network: there is no network 'reed' (did you mean red?)"),
    ("hosts: {h: {network: red}}", "hosts.h.ip: is missing"),
    ("hosts: {h: }", "hosts.h: needs network and ip, or interfaces"),
    ("hosts: {h: {ip: 10.1.0.5, interfaces: {a: {network: red, ip: 10.1.0.6}}}}", "hosts.h: has either network and ip"),
    ("hosts: [h]", "hosts: must be a mapping of names"),
    ("hosts: {a/b: {network: red, ip: 10.1.0.5}}", "hosts: 'a/b' is not a name"),
    ("hosts: {net: {network: red, ip: 10.1.0.5}}", "hosts.net: the name 'net' is taken by the networks"),
    (
        "hosts: {a: {network: red, ip: 10.1.0.5}, b: {network: red, ip: 10.1.0.5}}",
        "hosts.b.ip: 10.1.0.5 is given to hosts.a.ip already",
    ),
    ("hosts:\n  a: {network: red, ip: 10.1.0.5}\n  a: {network: red, ip: 10.1.0.6}", "line 8: 'a' is given twice"),
    (
        "serviceengines: {a: {interfaces: {e: {network: red, ip: 10.1.0.5}}}}\nhosts: {a: {network: red, ip: 10.1.0.6}}",
        "hosts.a: the name 'a' is taken by another engine, VRF or host",
    ),
    (
        "hosts: {h: {interfaces: {eth0123456789abc: {network: red, ip: 10.1.0.5}}}}",
        "hosts.h.interfaces.eth0123456789abc: an interface name has at most 15 characters, this one has 16",
    ),
    ("hosts: {h: {interfaces: {'e 1': {network: red, ip: 10.1.0.5}}}}", "hosts.h.interfaces.e 1: 'e 1' cannot be"),
    ("hosts: {h: {interfaces: {lo: {network: red, ip: 10.1.0.5}}}}", "hosts.h.interfaces.lo: 'lo' cannot be"),
    (
        "hosts: {h: {network: red, ip: 10.1.0.5, gateway: 10.2.0.1}}",
        "hosts.h.gateway: 10.2.0.1 is in none of the host's",
    ),
    ("hosts: {h: {network: red, ip: 10.1.0.5, forward: maybe}}", "hosts.h.forward: 'maybe' is neither true nor false"),
    (
        "hosts: {h: {network: red, ip: 10.1.0.5, routes: [{to: 10.3.0.1/24, via: 10.1.0.1}]}}",
        "hosts.h.routes[0].to: 10.3.0.1/24 has bits set behind its prefix length; did you mean 10.3.0.0/24?",
    ),
    (
        "hosts: {h: {network: red, ip: 10.1.0.5, gateway: 10.1.0.5}}",
        "hosts.h.gateway: 10.1.0.5 is the host's own address",
    ),
    (
        "hosts: {h: {network: red, ip: 10.1.0.5, routes: [{to: 10.3.0.0/24}]}}",
        "hosts.h.routes[0].via: is missing",
    ),
    (
        "hosts: {h: {network: red, ip: 10.1.0.5, gateway: 10.1.0.1, routes: [{to: 0.0.0.0/0, via: 10.1.0.2}]}}",
        "hosts.h.routes[0]: there is a route to 0.0.0.0/0 already, via 10.1.0.1",
    ),
    ("hosts: {h: {network: red, ip: 10.1.0.5, nft: none.nft}}", "hosts.h.nft: there is no file"),
    ("hosts: {h: {network: red, ip: 10.1.0.5, run: [sleep, 9]}}", "hosts.h.run: must be a list of commands"),
    (
        "hosts: {h: {network: red, ip: 10.1.0.5, run: [[no-such-program]]}}",
        "hosts.h.run[0]: program 'no-such-program' is not installed",
    ),
    ("hosts: {h: {network: red, ip: 10.1.0.5, run: [[]]}}", "hosts.h.run[0]: must be program and arguments"),
    ("hosts: {h: {network: red, ip: 10.1.0.5, run: [[sh, no.conf]]}}", "hosts.h.run[0]: there is no file"),
    ("serviceengines: {se: {se_group: g}}", "serviceengines.se.interfaces: an engine needs at least one interface"),
    (
        "serviceengines: {se: {interfaces: {e: {network: red, ip: 10.1.0.5}}, vrfs: {v: {namespace: x, interfaces: [e]}}}}",
        "serviceengines.se.vrfs.v.namespace: either all VRFs",
    ),
    (
        "serviceengines: {se: {interfaces: {e: {network: red, ip: 10.1.0.5}}, vrfs: {global: {}}}}",
        "serviceengines.se.vrfs.global: this VRF is the engine's own",
    ),
]


@pytest.mark.parametrize(("text", "expected"), REFUSED, ids=[expected[:50] for _, expected in REFUSED])
def test_refused(tmp_path: Path, text: str, expected: str) -> None:
    found = problems(tmp_path, NETWORKS + text)
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("subnets", "expected"),
    [
        (("10.0.0.0/16", "10.0.5.0/24"), "networks.b.subnet: 10.0.5.0/24 overlaps 10.0.0.0/16 of networks.a.subnet"),
        (("10.0.5.0/24", "10.0.0.0/16"), "networks.a.subnet: 10.0.5.0/24 overlaps 10.0.0.0/16 of networks.b.subnet"),
        (("10.0.5.0/24", "10.0.5.0/24"), "networks.b.subnet: 10.0.5.0/24 overlaps 10.0.5.0/24 of networks.a.subnet"),
        (("10.0.5.1/24", "10.1.0.0/24"), "networks.a.subnet: 10.0.5.1/24 has bits set"),
        (("0.0.0.0/0", "10.1.0.0/24"), "networks.a.subnet: 0.0.0.0/0 cannot be the subnet of a network"),
        (("many", "10.1.0.0/24"), "networks.a.subnet: 'many' is not an IP prefix"),
    ],
)
def test_subnets(tmp_path: Path, subnets: tuple[str, str], expected: str) -> None:
    text = f"name: t\nnetworks: {{a: {{subnet: {subnets[0]}}}, b: {{subnet: {subnets[1]}}}}}\n"
    found = problems(tmp_path, text)
    assert len(found) == 1
    assert found[0].startswith(expected)


APART = """
name: t
networks: {a: {subnet: 10.0.5.0/24}, b: {subnet: 10.0.5.0/24}, far: {subnet: 10.0.6.0/24}, bfar: {subnet: 10.0.6.0/24}}
serviceengines:
  se: {interfaces: {e0: {network: a, ip: 10.0.5.1}}, vrfs: {blue: {interfaces: {e0: {network: b, ip: 10.0.5.1}}}}}
hosts:
  r: {interfaces: {e0: {network: a, ip: 10.0.5.9}, e1: {network: far, ip: 10.0.6.9}}}
  s: {interfaces: {e0: {network: b, ip: 10.0.5.9}, e1: {network: %s, ip: 10.0.6.8}}}
  t: {network: bfar, ip: 10.0.6.9}
"""


def test_networks_that_no_packet_gets_between_may_have_the_same_addresses(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(APART % "bfar")
    assert topology.load(tmp_path / "t.yaml").engines["se"].vrfs["blue"][0].addresses == ("10.0.5.1/24",)
    assert problems(tmp_path, APART % "far") == [
        "networks.b.subnet: 10.0.5.0/24 overlaps 10.0.5.0/24 of networks.a.subnet"
    ]


def test_all_problems_at_once(tmp_path: Path) -> None:
    text = NETWORKS + "hosts: {a: {network: red, ip: x}, b: {network: no, ip: 10.1.0.2}, c: [red]}"
    assert [line.split(": ")[0] for line in problems(tmp_path, text)] == [
        "hosts.a.ip",
        "hosts.b.network",
        "hosts.c",
        "hosts.c",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1\nb: 2", "line 2, column 2: "),
        ("a: \x00", "not YAML: "),
        ("- a\n- b", "must be a mapping with name"),
        ("", "name: is missing"),
        ("[" * 600, "is nested too deeply"),
        ("? [a]\n: b", "line 1, column 3: "),
    ],
)
def test_not_a_topology(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text)[0].startswith(expected)


def test_unreadable(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"none\.yaml: cannot be read: No such file"):
        topology.load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff\xfe\xff")
    with pytest.raises(LabError, match="is not UTF-8 text"):
        topology.load(tmp_path / "latin.yaml")


def test_missing_program_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(
        LabError, match=r"hosts\.ftp1\.run\[0\]: program 'vsftpd' is not installed: apt-get install vsftpd"
    ):
        topology.load(FOUNDING)

"""The file format, read back block by block and by tshark."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.pcapfile import CaptureFile
from dataplane.pcapng import Entry, PcapngEncoder, each_packet, merge, outbound
from dataplane.taps import LINK_ETHERNET, LINK_RAW, Port

UDP = bytes.fromhex("4500001c000140004011 0000 0a000001 0a000002 0035 0036 0008 0000".replace(" ", ""))


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        kind, length = struct.unpack_from("<II", data)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, length - 4)[0] == length
        found.append((kind, data[8 : length - 4]))
        data = data[length:]
    return found


def entry(**changes: Any) -> Entry:
    fields = {"port": Port("eth1", LINK_RAW), "source": "", "ns": 1700000000_123456000, "data": UDP, "length": len(UDP)}
    return Entry(**(fields | changes))


def written(path: Path, *entries: Entry, **about: Any) -> Path:
    encoder = PcapngEncoder(**about)
    path.write_bytes(encoder.header() + encoder.packets(entries))
    return path


def tshark(path: Path, *fields: str) -> list[str]:
    if not shutil.which("tshark"):
        pytest.skip("tshark is not installed")
    chosen = [word for field in fields for word in ("-e", field)]
    done = subprocess.run(
        ["tshark", "-r", str(path), "-T", "fields", *chosen], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()


def test_every_block_is_whole_and_in_the_file_at_once(tmp_path: Path) -> None:
    encoder = PcapngEncoder(snaplen=256, comment="odd")
    file = CaptureFile(tmp_path / "a.pcapng", encoder.header())
    for number in range(1, 6):
        one = entry(data=UDP[: 20 + number], comment="x" * number, port=Port(f"eth{number % 2}", LINK_RAW))
        file.append(encoder.packets([one]), 1)
        kinds = [kind for kind, _ in blocks(file.path.read_bytes())]
        assert kinds.count(6) == number == file.packets
        assert file.size == file.path.stat().st_size
    assert kinds.count(1) == 2
    assert kinds[0] == 0x0A0D0D0A
    file.close()
    file.close()


def test_time_lengths_and_direction(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pcapng", entry(length=1500, outbound=True))
    _, body = blocks(path.read_bytes())[2]
    number, high, low, kept, length = struct.unpack_from("<IIIII", body)
    assert (number, (high << 32) + low, kept, length) == (0, 1700000000_123456000, len(UDP), 1500)
    assert struct.unpack_from("<HHI", body, 20 + len(UDP)) == (2, 4, 2)
    (found,) = each_packet(path.read_bytes())
    assert outbound(found.options)


def test_the_file_is_private_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    CaptureFile(path, b"").close()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        CaptureFile(path, b"")


def test_tshark_reads_comments_names_of_interfaces_and_their_engine(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.pcapng",
        entry(comment='side=internal rule="nät/1 größer"', source="service engine se1"),
        entry(port=Port("eth2", LINK_RAW), data=UDP[:24]),
        entry(port=Port("eth2", LINK_ETHERNET), data=bytes(12) + b"\x08\x00" + UDP, length=14 + len(UDP)),
        snaplen=64,
    )
    fields = ("frame.comment", "frame.interface_name", "ip.src", "udp.srcport", "frame.time_epoch", "frame.len")
    shown = [line.split("\t") for line in tshark(path, *fields, "frame.interface_description")]
    assert shown[0][:4] == ['side=internal rule="nät/1 größer"', "eth1", "10.0.0.1", "53"]
    assert shown[0][4].startswith("1700000000.123456")
    assert shown[0][6] == "service engine se1"
    assert shown[1][1:3] == ["eth2", "10.0.0.1"]
    assert shown[1][5] == str(len(UDP))
    assert shown[2][1:4] == ["eth2", "10.0.0.1", "53"]


def test_a_packet_of_64_kilobytes_and_an_endless_comment(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pcapng", entry(data=bytes(65535), length=65535, comment="ä" * 70000))
    kind, body = blocks(path.read_bytes())[-1]
    assert kind == 6
    code, length = struct.unpack_from("<HH", body, 20 + 65536)
    assert code == 1
    assert body[20 + 65536 + 4 :][:length].decode() == "ä" * (length // 2)


def test_a_full_disk_leaves_whole_blocks_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = PcapngEncoder()
    file = CaptureFile(tmp_path / "a.pcapng", encoder.header())
    file.append(encoder.packets([entry()]), 1)
    whole = file.path.read_bytes()
    real = os.write

    def short(handle: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, data[: len(data) - 10])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        with pytest.raises(OSError, match="No space"):
            file.append(encoder.packets([entry()]), 1)
    assert file.path.read_bytes() == whole
    assert (file.packets, file.size) == (1, len(whole))
    file.append(encoder.packets([entry()]), 1)
    assert [kind for kind, _ in blocks(file.path.read_bytes())] == [0x0A0D0D0A, 1, 6, 6]
    file.close()


def test_many_files_become_one_in_the_order_of_time(tmp_path: Path) -> None:
    one = written(tmp_path / "1", *(entry(ns=n, port=Port("eth1", LINK_RAW)) for n in (1, 4, 3)))
    other = written(tmp_path / "2", *(entry(ns=n, port=Port("eth2", LINK_RAW)) for n in (2, 6)), entry(ns=5))
    (tmp_path / "2").write_bytes(other.read_bytes() + b"\x06\0\0\0\x40\0\0\0cut")  # still written
    with (tmp_path / "whole").open("wb") as sink:
        assert merge([one, other], sink) == 6
    whole = (tmp_path / "whole").read_bytes()
    assert [(packet.ns, packet.number) for packet in each_packet(whole)] == [
        (1, 0),
        (2, 1),
        (3, 0),
        (4, 0),
        (5, 0),
        (6, 1),
    ]
    assert [kind for kind, _ in blocks(whole)].count(1) == 2


def test_what_is_no_pcapng_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"this is a text and no file")
    with (tmp_path / "whole").open("wb") as sink, pytest.raises(ValueError, match="is no pcapng file"):
        merge([path], sink)


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_walked_through(data: bytes) -> None:
    assert all(0 <= one.offset < len(data) for one in each_packet(data))

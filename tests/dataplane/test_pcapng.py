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

from dataplane.pcapng import PcapngWriter

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


def write(writer: PcapngWriter, **changes: Any) -> None:
    writer.write(**({"interface": "eth1", "time": 1700000000.123456, "data": UDP, "length": len(UDP)} | changes))


def tshark(path: Path, *fields: str) -> list[str]:
    if not shutil.which("tshark"):
        pytest.skip("tshark is not installed")
    chosen = [word for field in fields for word in ("-e", field)]
    done = subprocess.run(
        ["tshark", "-r", str(path), "-T", "fields", *chosen], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()


def test_every_block_is_whole_and_in_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    writer = PcapngWriter(path, snaplen=256, comment="odd")
    for number in range(1, 6):
        write(writer, data=UDP[: 20 + number], comment="x" * number, interface=f"eth{number % 2}")
        kinds = [kind for kind, _ in blocks(path.read_bytes())]
        assert kinds.count(6) == number == writer.packets
        assert writer.size == path.stat().st_size
    assert kinds.count(1) == 2
    assert kinds[0] == 0x0A0D0D0A
    writer.close()
    writer.close()


def test_time_lengths_and_direction(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    writer = PcapngWriter(path)
    write(writer, length=1500, outbound=True)
    _, body = blocks(path.read_bytes())[2]
    number, high, low, kept, length = struct.unpack_from("<IIIII", body)
    assert (number, (high << 32) + low, kept, length) == (0, 1700000000_123456000, len(UDP), 1500)
    assert struct.unpack_from("<HHI", body, 20 + len(UDP)) == (2, 4, 2)
    writer.close()


def test_the_file_is_private_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    PcapngWriter(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        PcapngWriter(path)


def test_tshark_reads_a_file_that_is_still_written(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    writer = PcapngWriter(path, snaplen=64)
    write(writer, comment='side=internal rule="nät/1 größer"')
    write(writer, interface="eth2", data=UDP[:24], length=len(UDP))
    shown = tshark(
        path, "frame.comment", "frame.interface_name", "ip.src", "udp.srcport", "frame.time_epoch", "frame.len"
    )
    assert shown[0].split("\t")[:4] == ['side=internal rule="nät/1 größer"', "eth1", "10.0.0.1", "53"]
    assert shown[0].split("\t")[4].startswith("1700000000.123456")
    assert shown[1].split("\t")[1:3] == ["eth2", "10.0.0.1"]
    assert shown[1].split("\t")[5] == str(len(UDP))
    writer.close()


def test_a_packet_of_64_kilobytes_and_an_endless_comment(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    writer = PcapngWriter(path)
    write(writer, data=bytes(65535), length=65535, comment="ä" * 70000)
    kind, body = blocks(path.read_bytes())[-1]
    assert kind == 6
    code, length = struct.unpack_from("<HH", body, 20 + 65536)
    assert code == 1
    assert body[20 + 65536 + 4 :][:length].decode() == "ä" * (length // 2)
    writer.close()


def test_a_full_disk_leaves_whole_blocks_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pcapng"
    writer = PcapngWriter(path)
    write(writer)
    whole = path.read_bytes()
    real = os.write

    def short(file: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data[: len(data) - 10])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        with pytest.raises(OSError, match="No space"):
            write(writer)
    assert path.read_bytes() == whole
    assert (writer.packets, writer.size) == (1, len(whole))
    write(writer)
    assert [kind for kind, _ in blocks(path.read_bytes())] == [0x0A0D0D0A, 1, 6, 6]
    writer.close()

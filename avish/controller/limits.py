"""Where a capture ends by itself, and how much it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT_PACKETS = 10_000
DEFAULT_BYTES = 50_000_000
DEFAULT_MINUTES = 10
DEFAULT_FILES = 2
DEFAULT_SNAPLEN = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """The capture ends at ``packets`` or after ``minutes`` (of both None: no such limit), whichever comes first.

    A file ends at ``bytes``; the newest ``files`` are kept, and of a single one the capture ends with it.
    ``snaplen``: bytes kept per packet, 0 all. ``pcapng`` False: plain pcap.
    """

    packets: int | None = DEFAULT_PACKETS
    bytes: int = DEFAULT_BYTES
    minutes: int | None = DEFAULT_MINUTES
    snaplen: int = DEFAULT_SNAPLEN
    files: int = DEFAULT_FILES
    pcapng: bool = True

    @classmethod
    def of(cls, params: Mapping[str, Any], free: int = 0) -> Limits:
        """The limits of ``capture_params``; what is left out takes a default. ``free`` bytes are on the disk.

        ``duration`` 0 runs until stopped, ``num_pkts`` 0 counts none, ``pkt_size`` 0 keeps whole packets.
        """
        size = params.get("capture_file_size") or {}
        share = free * int(size.get("percentage_size") or 0) // 100
        minutes, packets = params.get("duration"), params.get("num_pkts")
        return cls(
            packets=DEFAULT_PACKETS if packets is None else packets or None,
            bytes=max(int(size.get("absolute_size") or 0) * 1_000_000, share) or DEFAULT_BYTES,
            minutes=DEFAULT_MINUTES if minutes is None else minutes or None,
            snaplen=DEFAULT_SNAPLEN if params.get("pkt_size") is None else params["pkt_size"],
            files=params.get("file_count") or DEFAULT_FILES,
            pcapng=bool(params.get("pcap_ng", True)),
        )

    def reached(self, packets: int, size: int, seconds: float) -> str:
        """In words, which limit is reached; "" while none is. ``size`` of the file that is written."""
        if self.packets is not None and packets >= self.packets:
            return f"the limit of {self.packets} packets was reached"
        if self.files == 1 and size >= self.bytes:
            return f"the limit of {self.bytes // 1_000_000} MB was reached"
        if self.minutes is not None and seconds >= self.minutes * 60:
            return f"the limit of {self.minutes} minutes was reached"
        return ""

    def room(self, packets: int) -> int | None:
        """How many more packets there may be behind ``packets``; None: any number."""
        return None if self.packets is None else max(self.packets - packets, 0)

    def left(self, packets: int, seconds: float) -> str:
        """What is left until the first limit, in words."""
        left = [] if self.packets is None else [f"{self.packets - packets} packets"]
        if self.minutes is not None:
            whole = max(0, round(self.minutes * 60 - seconds))
            left.append(f"{whole // 60}:{whole % 60:02}")
        return " or ".join(left) or "no limit"

    def __str__(self) -> str:
        """As a person is told, e.g. "10000 packets or 10 minutes, 256 bytes per packet, 2 files of 50 MB"."""
        megabytes = f"{self.bytes // 1_000_000} MB"
        ends = [] if self.packets is None else [f"{self.packets} packets"]
        ends += [megabytes] if self.files == 1 else []
        ends += [f"{self.minutes} minutes"] if self.minutes is not None else []
        kept = f"{self.snaplen} bytes per packet" if self.snaplen else "whole packets"
        files = f", {self.files} files of {megabytes}" if self.files > 1 else ""
        return f"{_either(ends) if ends else 'until stopped'}, {kept}{files}"

    def as_dict(self) -> dict[str, int | None]:
        """By name."""
        return {
            "packets": self.packets,
            "bytes": self.bytes,
            "minutes": self.minutes,
            "snaplen": self.snaplen,
            "files": self.files,
        }


def _either(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

"""Where a capture ends by itself."""

from __future__ import annotations

from dataclasses import dataclass

from dataplane.model import CaptureSpec

DEFAULT_PACKETS = 10_000
DEFAULT_BYTES = 50_000_000
DEFAULT_MINUTES = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a capture ends, whichever comes first; None: no such limit. ``snaplen``: bytes kept per packet, 0 all."""

    packets: int
    bytes: int
    minutes: int | None
    snaplen: int

    @classmethod
    def of(cls, num_pkts: int | None, pkt_size: int | None, duration_min: int | None) -> Limits:
        """The user's own limits over the defaults: None leaves a default; ``duration_min`` 0 runs until stopped,
        ``num_pkts`` 0 is no own limit, ``pkt_size`` 0 keeps whole packets. The limit of bytes protects the disk always.
        """
        return cls(
            packets=num_pkts or DEFAULT_PACKETS,
            bytes=DEFAULT_BYTES,
            minutes=DEFAULT_MINUTES if duration_min is None else duration_min or None,
            snaplen=CaptureSpec("nat").snaplen if pkt_size is None else pkt_size,
        )

    def reached(self, packets: int, size: int, seconds: float) -> str:
        """In words, which limit is reached; "" while none is."""
        if packets >= self.packets:
            return f"the limit of {self.packets} packets was reached"
        if size >= self.bytes:
            return f"the limit of {self.bytes // 1_000_000} MB was reached"
        if self.minutes is not None and seconds >= self.minutes * 60:
            return f"the limit of {self.minutes} minutes was reached"
        return ""

    def __str__(self) -> str:
        """The limits as a person is told them, e.g. "10000 packets, 50 MB or 10 minutes, 256 bytes per packet"."""
        ends = [f"{self.packets} packets", f"{self.bytes // 1_000_000} MB"]
        ends += [f"{self.minutes} minutes"] if self.minutes is not None else []
        kept = f"{self.snaplen} bytes per packet" if self.snaplen else "whole packets"
        return f"{_either(ends)}, {kept}"

    def as_dict(self) -> dict[str, int | None]:
        return {"packets": self.packets, "bytes": self.bytes, "minutes": self.minutes, "snaplen": self.snaplen}


def _either(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

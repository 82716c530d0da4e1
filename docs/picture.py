"""Draws a capture file as Wireshark shows it: ``python docs/picture.py FILE FIRST LAST > captures.svg``."""

from __future__ import annotations

import subprocess
import sys
from html import escape

FIELDS = (
    "frame.number", "frame.time_relative", "ip.src", "ip.dst", "_ws.col.Protocol", "frame.len", "_ws.col.Info",
    "frame.interface_name", "frame.comment",
)  # fmt: skip
COLUMNS = (
    ("No.", 10),
    ("Time", 60),
    ("Source", 140),
    ("Destination", 260),
    ("Protocol", 380),
    ("Len", 460),
    ("Info", 500),
)
COLOURS = {"TCP": "#e7e6ff", "FTP": "#e4ffc7", "FTP-DATA": "#ffe9c7"}
WIDTH, ROW = 1180, 20


def rows(path: str, first: int, last: int) -> list[list[str]]:
    """The packets, their fields as text."""
    wanted = [word for field in FIELDS for word in ("-e", field)]
    done = subprocess.run(["tshark", "-r", path, "-T", "fields", *wanted], capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()][first - 1 : last]


def text(x: int, y: int, value: str, extra: str = "") -> str:
    """A piece of text."""
    return f'<text x="{x}" y="{y}" {extra}>{escape(value)}</text>'


def picture(packets: list[list[str]], chosen: int) -> str:
    """The list of packets, and the details of one of them."""
    parts = [f'<rect width="{WIDTH}" height="24" fill="#dcdcdc"/>']
    parts += [text(x, 16, name, 'font-weight="bold"') for name, x in COLUMNS]
    y = 24
    for number, packet in enumerate(packets):
        fill = "#3874d8" if number == chosen else COLOURS.get(packet[4], "#ffffff")
        parts.append(f'<rect y="{y}" width="{WIDTH}" height="{ROW}" fill="{fill}"/>')
        ink = 'fill="#ffffff"' if number == chosen else ""
        shown = [packet[0], f"{float(packet[1]):.6f}", *packet[2:6], packet[6][:86]]
        parts += [text(x, y + 14, value, ink) for (_, x), value in zip(COLUMNS, shown, strict=True)]
        y += ROW
    own = packets[chosen]
    details = [f"Frame {own[0]}: {own[5]} bytes on wire", f"    Interface name: {own[7]}", "    Packet comments"]
    details += [f"        {own[8]}"]
    y += 12
    for line in details:
        background = "#ffff7f" if line.strip() == own[8] else "#ffffff"
        parts.append(f'<rect y="{y}" width="{WIDTH}" height="{ROW}" fill="{background}"/>')
        parts.append(text(10, y + 14, line, 'xml:space="preserve"'))
        y += ROW
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="monospace" font-size="12">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>', *parts, "</svg>"])


if __name__ == "__main__":
    found = rows(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print(picture(found, next(at for at, packet in enumerate(found) if "rule=" in packet[8])))

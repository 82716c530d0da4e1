"""Echo requests to an address, one every few milliseconds: python gaps.py ADDRESS SECONDS [MILLISECONDS].

Prints the longest time without an answer in milliseconds, and how many answers came.
"""

import os
import select
import socket
import struct
import sys
import time
from contextlib import suppress

address, seconds = sys.argv[1], float(sys.argv[2])
pause = float(sys.argv[3]) / 1000 if len(sys.argv) > 3 else 0.005
six = ":" in address
family, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if six else (socket.AF_INET, socket.IPPROTO_ICMP)
request, reply, header = (128, 129, 0) if six else (8, 0, 20)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def echo(number):
    """The kernel fills in the checksum of ICMPv6 by itself."""
    head = struct.pack("!BBHHH", request, 0, 0, ident, number & 0xFFFF)
    return head if six else struct.pack("!BBHHH", request, 0, checksum(head), ident, number & 0xFFFF)


raw = socket.socket(family, socket.SOCK_RAW, protocol)
raw.connect((address, 0))
ident, number, answers, longest = os.getpid() & 0xFFFF, 0, 0, 0.0
begin = last = time.monotonic()
due = begin
while (now := time.monotonic()) < begin + seconds:
    if now >= due:
        number += 1
        with suppress(OSError):
            raw.send(echo(number))
        due = now + pause
    if select.select([raw], [], [], max(due - time.monotonic(), 0))[0]:
        data = raw.recv(2048)
        if data[header] == reply and struct.unpack_from("!H", data, header + 4)[0] == ident:
            moment = time.monotonic()
            longest, last, answers = max(longest, moment - last), moment, answers + 1
longest = max(longest, time.monotonic() - last)
print(f"{1000 * longest:.0f} {answers}")

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


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
raw.connect((address, 0))
ident, number, answers, longest = os.getpid() & 0xFFFF, 0, 0, 0.0
begin = last = time.monotonic()
due = begin
while (now := time.monotonic()) < begin + seconds:
    if now >= due:
        number += 1
        head = struct.pack("!BBHHH", 8, 0, 0, ident, number & 0xFFFF)
        with suppress(OSError):
            raw.send(struct.pack("!BBHHH", 8, 0, checksum(head), ident, number & 0xFFFF))
        due = now + pause
    if select.select([raw], [], [], max(due - time.monotonic(), 0))[0]:
        data = raw.recv(2048)
        if data[20] == 0 and struct.unpack_from("!H", data, 24)[0] == ident:
            moment = time.monotonic()
            longest, last, answers = max(longest, moment - last), moment, answers + 1
longest = max(longest, time.monotonic() - last)
print(f"{1000 * longest:.0f} {answers}")

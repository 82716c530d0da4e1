"""Asks everybody on a segment who has an address, every few milliseconds: python twice.py INTERFACE ADDRESS SECONDS.

Prints, in milliseconds, the longest time without an answer and the longest in which two answered; and how many answers
came.
"""

import select
import socket
import struct
import sys
import time

interface, address, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
PAUSE, TOGETHER = 0.01, 0.03
ARP = 0x0806
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ARP))
raw.bind((interface, ARP))
own = raw.getsockname()[4]
ask = b"\xff" * 6 + own + struct.pack("!HHHBBH", ARP, 1, 0x0800, 6, 4, 1)
ask += own + bytes(4) + bytes(6) + socket.inet_aton(address)
answers, begin = [], time.monotonic()
due = begin
while (now := time.monotonic()) < begin + seconds:
    if now >= due:
        raw.send(ask)
        due = now + PAUSE
    if select.select([raw], [], [], max(due - time.monotonic(), 0))[0]:
        data = raw.recv(200)
        if data[20:22] == b"\0\2" and data[28:32] == socket.inet_aton(address):
            answers.append((time.monotonic(), data[22:28]))
gap = max(
    later - earlier
    for (earlier, _), (later, _) in zip([(begin, b""), *answers], [*answers, (time.monotonic(), b"")], strict=True)
)
longest = since = last = 0.0
seen = {}
for moment, mac in answers:
    seen[mac] = moment
    if sum(moment - one < TOGETHER for one in seen.values()) > 1:
        since = moment if moment - last > TOGETHER else since
        last = moment
        longest = max(longest, last - since)
print(f"{1000 * gap:.0f} {1000 * longest:.0f} {len(answers)}")

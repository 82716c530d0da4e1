"""An active FTP session through a failover: python fetch.py VIP FILE SECONDS.

Begins to fetch FILE, says "half" when a third is there, reads on slowly; prints the checksum, and what a second
transfer over the same control connection brought.
"""

import ftplib
import hashlib
import sys
import time

vip, name, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
session = ftplib.FTP(vip, timeout=20)
session.login("anonymous", "x@")
session.set_pasv(False)
digest, got, told = hashlib.sha256(), 0, False


def take(data):
    global got, told
    digest.update(data)
    got += len(data)
    if got > 8_000_000 and not told:
        told = True
        print("half", flush=True)
    if told and got < 40_000_000:
        time.sleep(pause)


session.retrbinary(f"RETR {name}", take, blocksize=1 << 16)
print(digest.hexdigest(), got, flush=True)
again = []
session.retrbinary("RETR README.txt", again.append)
print("again", len(b"".join(again)), flush=True)
session.quit()

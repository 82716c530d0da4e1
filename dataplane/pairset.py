"""Whether a pair is live in the kernel: its set in the gate has an element that has not ended."""

from __future__ import annotations

import struct

from dataplane import netlink
from dataplane.failover_rules import TABLE
from dataplane.netlink import Netlink

_NETDEV = 5
_SUBSYSTEM, _GET = 10, 13  # NFT_MSG_GETSETELEM
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_TIMEOUT = 2.0


def live(number: int) -> bool:
    """True too when nothing tells: who looks must not take silence of the kernel for an end."""
    body = netlink.netfilter_header(_NETDEV)
    body += netlink.text(_LIST_TABLE, TABLE) + netlink.text(_LIST_SET, f"live_{number}")
    try:
        with Netlink(timeout=_TIMEOUT) as kernel:
            for message in kernel.dump(netlink.netfilter_type(_SUBSYSTEM, _GET), body):
                attributes = netlink.parse(message.body, 4)
                if any(True for _ in netlink.each(attributes.get(_LIST_ELEMENTS, b""))):
                    return True
    except (OSError, struct.error):
        return True
    return False

"""Virtual hardware addresses: the interfaces of a pair that take frames for one."""

from __future__ import annotations

import errno
import logging
import socket

from dataplane import rtnetlink
from dataplane.failover_model import Pair
from dataplane.netlink import Netlink

_LOG = logging.getLogger(__name__)
_SO_ALREADY = (errno.EEXIST, errno.ENOENT)


def follow(pair: Pair, *, here: bool) -> str:
    """Let the interfaces of a pair take frames for its address, or no longer; why one cannot, in words.

    The kernel's gate takes them in any case. This is for devices that sort out frames before the kernel sees them.
    """
    if not pair.vmac:
        return ""
    change = rtnetlink.take_frames if here else rtnetlink.leave_frames
    for link in pair.links:
        try:
            with Netlink(socket.NETLINK_ROUTE) as kernel:
                change(kernel, socket.if_nametoindex(link.interface), pair.vmac)
        except OSError as error:
            if error.errno not in _SO_ALREADY:
                _LOG.warning("%s: frames for %s: %s", link.interface, pair.vmac, error)
                return f"{link.interface} does not take frames for {pair.vmac}: {error.strerror or error}"
    return ""

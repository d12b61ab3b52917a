"""Joining a multicast group on a named interface, from anyone or from given senders (RFC 3376, RFC 3810, RFC 4607)."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Sequence

from livemos.agent.errors import SourceError

_JOIN_GROUP, _JOIN_SOURCE_GROUP = 42, 46  # MCAST_* of linux/in.h; Python names neither
_IP_PKTINFO, _IPV6_RECVPKTINFO = 8, 49  # linux/in.h, linux/in6.h
_STORAGE_BYTES = 128


def join(opened: socket.socket, group: str, interface: str | None, sources: Sequence[str]) -> None:
    """Raises SourceError. The kernel hands a wildcard socket all joined groups, so destinations are asked for too."""
    if interface is None:
        raise SourceError(
            f"the multicast group {group} needs an interface, by name; the default route is often the wrong one"
        )
    try:
        index = socket.if_nametoindex(interface)
    except OSError as error:
        raise SourceError(f"interface {interface} is not here; `ip link` lists those that are") from error
    version_6 = ipaddress.ip_address(group).version == 6
    level = socket.IPPROTO_IPV6 if version_6 else socket.IPPROTO_IP
    # two words before the addresses: the index, and padding to the alignment of sockaddr_storage
    head = struct.pack("@I4x", index)
    try:
        if sources:
            for source in sources:
                opened.setsockopt(level, _JOIN_SOURCE_GROUP, head + _storage(group) + _storage(source))
        else:
            opened.setsockopt(level, _JOIN_GROUP, head + _storage(group))
        opened.setsockopt(level, _IPV6_RECVPKTINFO if version_6 else _IP_PKTINFO, 1)
    except OSError as error:
        raise SourceError(f"the group {group} cannot be joined on {interface} ({error.strerror})") from error


def _storage(address: str) -> bytes:
    parsed = ipaddress.ip_address(address)
    if parsed.version == 4:
        packed = struct.pack("@H", socket.AF_INET) + bytes(2) + parsed.packed
    else:
        packed = struct.pack("@H", socket.AF_INET6) + bytes(6) + parsed.packed
    return packed.ljust(_STORAGE_BYTES, b"\0")

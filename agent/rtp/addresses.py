"""Who may speak for an SSRC: normal forms of addresses, and the policy for senders that move (RFC 3550, 8.2)."""

from __future__ import annotations

import functools
import ipaddress
from dataclasses import dataclass
from enum import Enum

FARTHEST_PACKETS = 3_000  # from the old sender's newest number to the new one's
SILENT_SECONDS = 1.0  # of the old sender before a new one is believed


@dataclass(frozen=True, slots=True, order=True)
class Transport:
    """Address and port; the address in its normal form, the scope of a link-local one kept."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@functools.lru_cache(maxsize=4_096)
def transport(address: str, port: int) -> Transport:
    """::ffff:192.0.2.1 is 192.0.2.1: a socket for both families must not see one sender as two."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return Transport(address, port)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return Transport(str(mapped or parsed), port)


class AddressPolicy(Enum):
    """What to do when an SSRC goes on from another address."""

    PIN = "pin"  # the first address of each SSRC, for the stream's life
    LEARN_ONCE = "learn_once"  # the first sender that proves a stream is the only one this port ever hears
    FOLLOW = "follow"  # the new address, once the old one is silent and the sequence goes on


def may_move(policy: AddressPolicy, *, silent_seconds: float, number_step: int) -> bool:
    """Whether an established stream goes on from a new address. number_step: new number less the newest known."""
    near = -FARTHEST_PACKETS < number_step < FARTHEST_PACKETS
    return policy is AddressPolicy.FOLLOW and silent_seconds >= SILENT_SECONDS and near

"""Serial numbers that wrap: differences are signed and modulo 2**16 or 2**32 (RFC 1982; RFC 3550 appendix A)."""

from __future__ import annotations


def difference16(later: int, earlier: int) -> int:
    """later - earlier of two sequence numbers, -32,768 to 32,767: they wrap after 22 minutes at 20 ms."""
    return ((later - earlier + 0x8000) & 0xFFFF) - 0x8000


def difference32(later: int, earlier: int) -> int:
    """later - earlier of two timestamps, -2**31 to 2**31 - 1: they wrap after 149 h at 8 kHz, 25 h at 48 kHz."""
    return ((later - earlier + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000


def extend16(sequence_number: int, near: int) -> int:
    """The number that ends in these 16 bits and lies nearest to the extended number `near`."""
    return near + difference16(sequence_number, near)

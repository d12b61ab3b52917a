"""Redundant audio data (RFC 2198): one packet that carries earlier ones again in front of its own payload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from livemos.agent.errors import PacketError
from livemos.agent.rtp.packet import Packet


class RedundancyError(PacketError):
    """A RED payload whose block headers do not add up."""


@dataclass(frozen=True, slots=True)
class Block:
    """One payload inside a RED packet; `offset` is how many ticks before the packet's timestamp it was made."""

    payload_type: int
    offset: int
    payload: bytes


def parse_blocks(payload: bytes) -> list[Block]:
    """Blocks as sent, oldest first, the primary one last. Raises RedundancyError."""
    headers: list[tuple[int, int, int]] = []
    position = 0
    while True:
        if position >= len(payload):
            raise RedundancyError(f"the block headers run to byte {position} of {len(payload)}")
        first = payload[position]
        if not first & 0x80:
            primary, position = first & 0x7F, position + 1
            break
        if position + 4 > len(payload):
            raise RedundancyError(f"a block header at byte {position} of {len(payload)} is cut short")
        packed = int.from_bytes(payload[position + 1 : position + 4])
        headers.append((first & 0x7F, packed >> 10, packed & 0x3FF))
        position += 4
    blocks = []
    for payload_type, offset, size in headers:
        blocks.append(Block(payload_type, offset, payload[position : position + size]))
        position += size
    if position >= len(payload):
        raise RedundancyError(f"the redundant blocks end at byte {position} of {len(payload)}: no primary is left")
    return [*blocks, Block(primary, 0, payload[position:])]


def repeated_packets(packet: Packet, blocks: Sequence[Block], packet_ticks: int) -> Iterator[tuple[int, Packet]]:
    """(packets back, the packet as it was sent) of what `packet` repeats, newest first.

    A block's offset says which packet it is of (RFC 2198 section 3); one between two packets belongs to none.
    packet_ticks: from one packet's timestamp to the next one's; 0, not known: nothing can be told.
    """
    for block in reversed(blocks[:-1]):
        back, rest = divmod(block.offset, packet_ticks) if packet_ticks > 0 else (0, 0)
        if back and not rest and block.payload:
            yield (
                back,
                replace(
                    packet,
                    payload_type=block.payload_type,
                    sequence_number=packet.sequence_number - back & 0xFFFF,
                    timestamp=packet.timestamp - block.offset & 0xFFFF_FFFF,
                    marker=False,
                    payload=block.payload,
                ),
            )

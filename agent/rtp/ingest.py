"""Runs: packets that continue an undisturbed stream exactly, taken together instead of one by one.

A stream without loss, pause or change brings the same packet again and again: the next number, the next timestamp, the
same length. `RtpSession.steady` says what that packet looks like, `RtpSession.push_run` takes many of them at once and
leaves the session in every bit as it would be after pushing each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Octets = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """The next packet of an undisturbed stream; its header has neither marker, padding, extension nor CSRC."""

    payload_type: int
    sequence_number: int
    timestamp: int
    payload_bytes: int
    ticks: int  # from packet to packet
    samples_16k: float  # of one packet, at 16 kHz


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketRun:
    """K packets as `Steady` describes them, each a packet behind the one before.

    payloads: (K, N). arrivals: K monotonic seconds, never falling.
    """

    payloads: Octets
    arrivals: list[float]

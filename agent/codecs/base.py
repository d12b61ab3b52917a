"""What every codec offers: bytes of one packet to samples, and what a listener hears when a packet is missing."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from livemos.agent.records import Samples


class Decoder(Protocol):
    """The state of one direction of one stream. Not shared between threads."""

    clock_rate_hz: int  # of RTP timestamps; for G.722 not the audio's (RFC 3551 section 4.5.2)
    sample_rate_hz: int  # of the samples that come out

    def packet_samples(self, payload: bytes) -> int:
        """Samples (at sample_rate_hz) the payload holds. Raises CodecError when the codec cannot have made it."""
        ...

    def decode(self, payload: bytes) -> Samples:
        """Mono (N,) float32 in [-1, 1]. Raises CodecError."""
        ...

    def conceal(self, samples: int, next_payload: bytes | None = None) -> Samples:
        """What the listener hears in place of `samples` missing ones, (samples,) float32.

        `next_payload` is the packet after the gap where it has arrived (Opus in-band FEC).
        """
        ...

    def recoverable_samples(self, next_payload: bytes) -> int:
        """Samples before `next_payload` that it carries a second time; 0 for codecs without in-band FEC."""
        ...

    def is_pause(self, payload: bytes) -> bool:
        """True when the payload announces a pause and holds no frame (Opus DTX)."""
        ...


@runtime_checkable
class RunDecoder(Protocol):
    """A decoder whose packets of one duration are all of one length, and which takes many of them at once."""

    clock_rate_hz: int
    sample_rate_hz: int

    def run_bytes(self, ticks: int) -> int:
        """Length of a payload that lasts `ticks` of the RTP clock."""
        ...

    def decode_run(self, payloads: npt.NDArray[np.uint8]) -> Samples:
        """(K, N) payloads in order -> the samples that `decode` gives of each, one after the other."""
        ...


class MemorylessPayload:
    """What codecs answer whose packets neither repeat earlier ones nor announce pauses."""

    def recoverable_samples(self, next_payload: bytes) -> int:
        """0: every payload speaks for itself."""
        return 0

    def is_pause(self, payload: bytes) -> bool:
        """False: these codecs pause by sending nothing, or RFC 3389 packets."""
        return False


class Encoder(Protocol):
    """Samples to payloads: for the simulator, the demo and the load generator."""

    clock_rate_hz: int
    sample_rate_hz: int

    def encode(self, samples: Samples) -> bytes:
        """One packet's payload from (N,) float32 in [-1, 1] at sample_rate_hz. Raises CodecError on a bad length."""
        ...

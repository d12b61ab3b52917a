"""Five calls that go wrong, or seem to, as captures made by real encoders.

    PYTHONPATH=tests/support python tests/incidents/captures.py FOLDER

Three of them must raise an alarm although no packet is lost, two must not although something is lost or rings.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soxr
from material import CLIPS, load
from rtp_traffic import CaptureWriter, pcmu

from livemos.agent.codecs import make_decoder, make_encoder
from livemos.agent.records import Samples

PACKET_SECONDS = 0.02
WIDE_HZ, NARROW_HZ = 16_000, 8_000


def speech(seconds: float) -> Samples:
    """Clean clips one after the other, (N,) at 16 kHz."""
    clips = np.concatenate([load(clip) for clip in CLIPS])
    return clips[: round(seconds * WIDE_HZ)]


def narrow(samples: Samples) -> Samples:
    """At 8 kHz."""
    return np.asarray(soxr.resample(samples, WIDE_HZ, NARROW_HZ), np.float32)


class Call:
    """One sender's packets, 20 ms each, written into a capture."""

    def __init__(
        self, writer: CaptureWriter, encoding: str, payload_type: int, *, ssrc: int = 1, number: int = 0
    ) -> None:
        self._writer, self._ssrc = writer, ssrc
        self._encoder = make_encoder(encoding)
        self._payload_type = payload_type
        self._samples = round(PACKET_SECONDS * self._encoder.sample_rate_hz)
        self._ticks = round(PACKET_SECONDS * self._encoder.clock_rate_hz)
        self.number, self._timestamp = number, 0

    def send(
        self,
        audio: Samples,
        start: float,
        *,
        every: float = PACKET_SECONDS,
        lost: Callable[[int], bool] = lambda _: False,
    ) -> float:
        """All whole packets of `audio` from `start` on; returns when the next would be sent."""
        for index in range(len(audio) // self._samples):
            payload = self._encoder.encode(audio[index * self._samples : (index + 1) * self._samples])
            if not lost(index):
                packet = pcmu(
                    self.number, self._timestamp, payload_type=self._payload_type, payload=payload, ssrc=self._ssrc
                )
                self._writer.add(packet, start)
            self.number, self._timestamp = self.number + 1, self._timestamp + self._ticks
            start += every
        return start


def quarter_rate_g722() -> CaptureWriter:
    """A sender that brings 13 packets a second of 20 ms each, numbers and timestamps contiguous."""
    writer = CaptureWriter()
    Call(writer, "G722/8000", 9).send(speech(3.2), 0.0, every=1 / 13)
    return writer


def robotic(seconds: float = 14.0) -> CaptureWriter:
    """Six frames in ten were lost before a gateway, which repeated the last one; what it sends loses nothing."""
    writer = CaptureWriter()
    far, gateway = make_encoder("PCMU/8000"), make_decoder("PCMU/8000", concealment="repeat")
    audio = narrow(speech(seconds))
    rng = np.random.default_rng(11)
    heard = []
    for begin in range(0, len(audio) - 159, 160):
        payload = far.encode(audio[begin : begin + 160])
        heard.append(gateway.conceal(160) if rng.random() < 0.6 else gateway.decode(payload))
    Call(writer, "PCMU/8000", 0).send(np.concatenate(heard), 0.0)
    return writer


def stutter(seconds: float = 14.0) -> CaptureWriter:
    """A sound card that runs dry: 80 ms of every 240 are heard three times, in packets numbered without a gap."""
    writer = CaptureWriter()
    audio = speech(seconds)
    heard = []
    for begin in range(0, len(audio), 3_840):
        piece = audio[begin : begin + 3_840].copy()
        heard += [piece[:1_280], piece[:1_280], piece[:1_280]] if len(piece) == 3_840 else [piece]
    Call(writer, "G722/8000", 9).send(np.concatenate(heard), 0.0)
    return writer


def ringback(seconds: float = 12.0) -> CaptureWriter:
    """12 s of ringing under one SSRC, then the answer under another, the numbers going on."""
    writer = CaptureWriter()
    t = np.arange(round(12.0 * NARROW_HZ)) / NARROW_HZ
    tone = np.where(t % 5.0 < 1.0, 0.15 * np.sin(2 * np.pi * 425.0 * t), 0.0).astype(np.float32)
    ringing = Call(writer, "PCMU/8000", 0, ssrc=1, number=773)
    answered = ringing.send(tone, 0.0)
    Call(writer, "PCMU/8000", 0, ssrc=2, number=ringing.number).send(narrow(speech(seconds)), answered)
    return writer


def early_loss(seconds: float = 18.0) -> CaptureWriter:
    """3 % of the packets of the first 6 s are lost, none after."""
    writer = CaptureWriter()
    rng = np.random.default_rng(7)
    Call(writer, "PCMU/8000", 0).send(
        narrow(speech(seconds)), 0.0, lost=lambda index: index < 300 and rng.random() < 0.03
    )
    return writer


INCIDENTS: dict[str, Callable[[], CaptureWriter]] = {
    "quarter_rate_g722": quarter_rate_g722,
    "robotic": robotic,
    "stutter": stutter,
    "ringback": ringback,
    "early_loss": early_loss,
}

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in INCIDENTS.items():
        print(make().write(folder / f"{name}.pcap"))

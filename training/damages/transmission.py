"""Real codecs and lost packets, through the same encoders, decoders and concealment that the agent plays calls with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import soxr

from livemos.agent.codecs import make_decoder, make_encoder
from livemos.agent.records import SAMPLE_RATE_HZ, Samples
from livemos.training.damages.track import Damage, Mask, Track
from livemos.training.sources import Library

# how audible a missing sample stays behind each concealment; 1 is silence in its place
_AUDIBLE = {"zero": 1.0, "repeat": 0.8, "pitch": 0.6, "opus": 0.5, "opus-fec": 0.35}
_CONCEALMENTS = ("zero", "repeat", "pitch")


def loss_pattern(seed: int, packets: int, lost_ratio: float, mean_burst_packets: float) -> Mask:
    """(packets,) True where lost: a two-state Gilbert chain, Bernoulli for a mean burst of 1 / (1 - lost_ratio)."""
    if lost_ratio <= 0.0:
        return np.zeros(packets, np.bool_)
    leave = 1.0 / max(mean_burst_packets, 1.0 / (1.0 - lost_ratio))
    enter = leave * lost_ratio / (1.0 - lost_ratio)
    chance = np.random.default_rng(seed).random(packets)
    lost, bad = np.zeros(packets, np.bool_), False
    for k in range(1, packets):  # the first packet arrives: before it there is nothing to conceal from
        bad = chance[k] < (1.0 - leave if bad else enter)
        lost[k] = bad
    return lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Transmission:
    """One leg of a call: encoding, packet length, lost packets, concealment. `L16/16000` is loss without a codec."""

    encoding: str
    packet_ms: int
    lost_ratio: float
    mean_burst_packets: float
    concealment: str
    seed: int
    bitrate_bps: int | None = None
    fec: bool = False

    def apply(self, track: Track, library: Library) -> Track:
        options: dict[str, float | None] = (
            {"bitrate_bps": self.bitrate_bps, "fec": self.fec} if self.encoding.startswith("opus") else {}
        )
        if self.fec:
            options["expected_loss_ratio"] = self.lost_ratio
        if self.encoding.startswith("G722"):
            options["packet_samples"] = self.packet_ms * 16
        encoder = make_encoder(self.encoding, **options)
        rate_hz = encoder.sample_rate_hz
        packet_samples = self.packet_ms * rate_hz // 1000
        sent = _to_rate(np.clip(track.samples, -1.0, 1.0), SAMPLE_RATE_HZ, rate_hz)
        packets = -(-len(sent) // packet_samples)
        sent = np.pad(sent, (0, packets * packet_samples - len(sent))).reshape(packets, packet_samples)
        payloads = [encoder.encode(packet) for packet in sent]
        lost = loss_pattern(self.seed, packets, self.lost_ratio, self.mean_burst_packets)
        heard = _to_rate(self._receive(payloads, lost, packet_samples), rate_hz, SAMPLE_RATE_HZ)
        mask = np.repeat(lost, self.packet_ms * SAMPLE_RATE_HZ // 1000)[: len(track.samples)]
        audible = _AUDIBLE[
            ("opus-fec" if self.fec else "opus") if self.encoding.startswith("opus") else self.concealment
        ]
        return replace(
            track,
            samples=np.pad(heard, (0, max(0, len(track.samples) - len(heard))))[: len(track.samples)],
            gap=np.maximum(track.gap, mask * np.float32(audible)),
            lost=track.lost | mask,
        )

    def _receive(self, payloads: list[bytes], lost: Mask, packet_samples: int) -> Samples:
        decoder = make_decoder(self.encoding, concealment=self.concealment)
        out_samples = self.packet_ms * decoder.sample_rate_hz // 1000
        heard = []
        for k, payload in enumerate(payloads):
            if not lost[k]:
                heard.append(decoder.decode(payload))
                continue
            following = payloads[k + 1] if self.fec and k + 1 < len(payloads) and not lost[k + 1] else None
            heard.append(decoder.conceal(out_samples, following))
        return np.concatenate(heard)


def _to_rate(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    if from_hz == to_hz:
        return samples
    resampled: Samples = soxr.resample(samples, from_hz, to_hz, quality="HQ")
    return resampled


def draw_loss(rng: np.random.Generator, severity: float, library: Library) -> Transmission:
    """Lost packets at 0.8 to 30 %, alone or in bursts, on plain samples or behind a codec."""
    encoding = str(
        rng.choice(["L16/16000", "PCMU/8000", "PCMA/8000", "G722/8000", "opus/48000/2"], p=[0.4, 0.17, 0.08, 0.1, 0.25])
    )
    opus = encoding.startswith("opus")
    packet_ms, bitrate_bps = (
        int(rng.choice([10, 20, 40, 60], p=[0.15, 0.6, 0.15, 0.1])),
        int(rng.choice([16, 24, 32, 48])),
    )
    burst, fec, concealment = (
        float(rng.choice([1.0, 1.0, 2.0, 3.5])),
        bool(rng.random() < 0.35),
        str(rng.choice(_CONCEALMENTS)),
    )
    return Transmission(
        encoding=encoding,
        packet_ms=packet_ms,
        lost_ratio=0.008 * (37.0**severity),
        mean_burst_packets=burst,
        concealment=concealment,
        seed=int(rng.integers(2**31)),
        bitrate_bps=bitrate_bps * 1000 if opus else None,
        fec=opus and fec,
    )


def without_loss(damage: Damage) -> Damage | None:
    """The same leg when every packet arrives; None for plain samples, which then pass unchanged."""
    if not isinstance(damage, Transmission) or damage.encoding.startswith("L16"):
        return None
    return replace(damage, lost_ratio=0.0)


def draw_opus(rng: np.random.Generator, severity: float, library: Library) -> Transmission:
    """Opus without loss, 64 kbit/s down to 6."""
    return _lossless(rng, "opus/48000/2", int(64_000 * (6.0 / 64.0) ** severity))


def draw_g711(rng: np.random.Generator, severity: float, library: Library) -> Transmission:
    """G.711 without loss; there is nothing to vary but the law."""
    return _lossless(rng, "PCMU/8000" if rng.random() < 0.6 else "PCMA/8000", None)


def draw_g722(rng: np.random.Generator, severity: float, library: Library) -> Transmission:
    """G.722 at 64 kbit/s without loss."""
    return _lossless(rng, "G722/8000", None)


def _lossless(rng: np.random.Generator, encoding: str, bitrate_bps: int | None) -> Transmission:
    return Transmission(
        encoding=encoding,
        packet_ms=20,
        lost_ratio=0.0,
        mean_burst_packets=1.0,
        concealment="zero",
        seed=int(rng.integers(2**31)),
        bitrate_bps=bitrate_bps,
    )

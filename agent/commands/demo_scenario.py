"""What the demo plays: one call whose line turns bad in three ways and recovers between and after them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfiltfilt

from livemos.agent.commands.rtp_player import PTIME_SECONDS
from livemos.agent.records import SAMPLE_RATE_HZ, SEGMENT_SAMPLES, Samples, SegmentScore
from livemos.agent.resample import StreamResampler


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the call with one fault, or none."""

    title: str
    seconds: float
    lost_ratio: float = 0.0
    snr_db: float | None = None
    narrow_band: bool = False

    @property
    def damaged(self) -> bool:
        """Whether anything is wrong here."""
        return self.lost_ratio > 0 or self.snr_db is not None or self.narrow_band


PHASES = (
    Phase("clean", 7.0),
    Phase("15 % of packets lost", 6.0, lost_ratio=0.15),
    Phase("clean again", 5.0),
    Phase("noise, 8 dB SNR", 6.0, snr_db=8.0),
    Phase("narrow band, 300-3400 Hz", 6.0, narrow_band=True),
    Phase("clean at the end", 6.0),
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """The call: samples (N,) float32 at 16 kHz.

    lost: one flag a 20 ms packet. starts: first sample of each phase, and the end.
    """

    phases: tuple[Phase, ...]
    samples: Samples
    lost: npt.NDArray[np.bool_]
    starts: tuple[int, ...]

    def phase_at(self, sample: int) -> Phase:
        """The phase that holds a sample; the last one beyond the end."""
        index = int(np.searchsorted(self.starts, sample, side="right")) - 1
        return self.phases[min(index, len(self.phases) - 1)]

    def phase_of(self, segment: SegmentScore) -> Phase | None:
        """The phase a segment lies in wholly; None across a border."""
        first = self.phase_at(segment.start_sample)
        last = self.phase_at(segment.start_sample + SEGMENT_SAMPLES - 1)
        return first if first is last else None


def build_scenario(speech: Samples, phases: tuple[Phase, ...] = PHASES, *, seed: int = 5) -> Scenario:
    """The call made of clean speech (N,) at 16 kHz, repeated as the phases need; the same for the same seed."""
    rng = np.random.default_rng(seed)
    lengths = [round(phase.seconds * SAMPLE_RATE_HZ) for phase in phases]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    looped = np.resize(speech, starts[-1])
    parts = []
    lost = np.zeros(round(starts[-1] / SAMPLE_RATE_HZ / PTIME_SECONDS), np.bool_)
    for phase, start, length in zip(phases, starts, lengths, strict=False):
        part = looped[start : start + length].copy()
        if phase.narrow_band:
            part = _narrow(part)
        if phase.snr_db is not None:
            part += _noise(length, part, phase.snr_db, rng)
        parts.append(np.clip(part, -1, 1).astype(np.float32))
        packets = slice(*(round(edge / SAMPLE_RATE_HZ / PTIME_SECONDS) for edge in (start, start + length)))
        lost[packets] = rng.random(packets.stop - packets.start) < phase.lost_ratio
    return Scenario(phases, np.concatenate(parts), lost, tuple(int(start) for start in starts))


def _narrow(samples: Samples) -> Samples:
    """Through 8 kHz and a 300 Hz high-pass, as an old telephone line."""
    down, up = StreamResampler(SAMPLE_RATE_HZ, 8_000), StreamResampler(8_000, SAMPLE_RATE_HZ)
    low = np.concatenate([down.push(samples), down.flush()])
    back = np.resize(np.concatenate([up.push(low), up.flush()]), len(samples))
    band = sosfiltfilt(butter(4, 300, "highpass", fs=SAMPLE_RATE_HZ, output="sos"), back)
    return np.asarray(band, np.float32)


def _noise(length: int, speech: Samples, snr_db: float, rng: np.random.Generator) -> Samples:
    """Pink noise at `snr_db` below the speech's RMS."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 10))
    noise = np.fft.irfft(spectrum, length)
    return np.asarray(noise * (speech.std() / noise.std() * 10 ** (-snr_db / 20)), np.float32)

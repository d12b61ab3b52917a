"""What a device or a line does to speech: rooms, filters, clipping, signal-dependent noise, suppressors, mutes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
import scipy.signal
import soxr

from livemos.agent.records import SAMPLE_RATE_HZ, Samples
from livemos.training.clips import smooth_response
from livemos.training.damages.track import Track
from livemos.training.levels import active_level_dbov, gain
from livemos.training.sources import Library


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverberation:
    """A measured impulse response mixed in: everything 4 ms after the direct sound, at `wet_db` to the dry speech."""

    path: str
    wet_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Reverberation:
        rooms = [each for each in library.of_kind("rir") if each.seconds > 0.15]
        return cls(path=rooms[rng.integers(len(rooms))].path, wet_db=-22.0 + 26.0 * severity)

    def apply(self, track: Track, library: Library) -> Track:
        response = library.load(self.path)
        tail = response.copy()
        tail[: int(np.abs(response).argmax()) + SAMPLE_RATE_HZ // 250] = 0.0
        wet = scipy.signal.fftconvolve(track.samples, tail)[: len(track.samples)].astype(np.float32)
        wet *= gain(active_level_dbov(track.samples) + self.wet_db - active_level_dbov(wet + np.float32(1e-7)))
        both = track.samples + wet
        return replace(track, samples=both * gain(active_level_dbov(track.samples) - active_level_dbov(both)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Butterworth edges; an edge at 0 or 8,000 Hz is none. With `narrow_rate` the clip passes 8 kHz sampling."""

    low_hz: float
    high_hz: float
    order: int
    narrow_rate: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Band:
        shape, order, narrow = rng.random(), int(rng.integers(2, 9)), bool(rng.random() < 0.5)
        low = 0.0 if shape < 0.5 else 80.0 * (900.0 / 80.0) ** severity
        high = 8000.0 if shape > 0.8 else 7400.0 * (1300.0 / 7400.0) ** severity
        return cls(low_hz=low, high_hz=high, order=order, narrow_rate=narrow and high < 3900.0)

    def apply(self, track: Track, library: Library) -> Track:
        return replace(track, samples=self._filter(track.samples), noise=self._filter(track.noise))

    def _filter(self, samples: Samples) -> Samples:
        if self.narrow_rate:
            narrow = soxr.resample(samples, SAMPLE_RATE_HZ, 8_000, quality="HQ")
            samples = np.resize(soxr.resample(narrow, 8_000, SAMPLE_RATE_HZ, quality="HQ"), samples.shape)
        for edge_hz, kind in ((self.low_hz, "highpass"), (self.high_hz, "lowpass")):
            if 0.0 < edge_hz < 7900.0:
                sections = scipy.signal.butter(self.order, edge_hz, kind, fs=SAMPLE_RATE_HZ, output="sos")
                samples = scipy.signal.sosfilt(sections, samples).astype(np.float32)
        return samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Telephone:
    """The classic telephone path: 300 to 3,400 Hz through 8 kHz sampling."""

    low_hz: float
    high_hz: float

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Telephone:
        return cls(low_hz=200.0 + 250.0 * severity, high_hz=3700.0 - 900.0 * severity)

    def apply(self, track: Track, library: Library) -> Track:
        return Band(low_hz=self.low_hz, high_hz=self.high_hz, order=4, narrow_rate=True).apply(track, library)


_EDGES_HZ = (
    (50.0, 7000.0), (100.0, 7000.0), (200.0, 7000.0), (50.0, 5500.0), (150.0, 5000.0), (200.0, 4000.0),
    (50.0, 3900.0), (200.0, 3600.0), (300.0, 3400.0), (400.0, 3000.0), (300.0, 2500.0), (600.0, 2200.0),
)  # fmt: skip


def draw_edges(rng: np.random.Generator, severity: float, library: Library) -> Band:
    """The edges of wide-band, narrow-band and odd channels, from wide to narrow."""
    low, high = _EDGES_HZ[min(len(_EDGES_HZ) - 1, int(severity * len(_EDGES_HZ)))]
    return Band(low_hz=low, high_hz=high, order=int(rng.integers(4, 9)), narrow_rate=high < 3900.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Equaliser:
    """A smooth response with the given gains in dB from 60 Hz to 8 kHz."""

    knots_db: tuple[float, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Equaliser:
        shape = rng.standard_normal(6)
        return cls(knots_db=tuple(float(knot) for knot in shape / np.abs(shape).max() * (3.0 + 22.0 * severity)))

    def apply(self, track: Track, library: Library) -> Track:
        knots_db = np.array(self.knots_db)
        shaped, noise = smooth_response(track.samples, knots_db), smooth_response(track.noise, knots_db)
        factor = gain(active_level_dbov(track.samples) - active_level_dbov(shaped))
        return replace(track, samples=shaped * factor, noise=noise * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipping:
    """Samples beyond `peak_ratio` of the loudest are cut off, hard or through a saturating curve; the level is kept."""

    peak_ratio: float
    soft: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Clipping:
        return cls(peak_ratio=0.8 * (0.03 / 0.8) ** severity, soft=bool(rng.random() < 0.2))

    def apply(self, track: Track, library: Library) -> Track:
        limit = np.float32(max(self.peak_ratio * float(np.abs(track.samples).max()), 1e-6))
        beyond = np.abs(track.samples) > limit
        cut = limit * np.tanh(track.samples / limit) if self.soft else np.clip(track.samples, -limit, limit)
        factor = gain(active_level_dbov(track.samples) - active_level_dbov(cut))
        # the noise beside the peaks passes the clipper and is lifted with the rest
        samples, noise = (cut * factor).astype(np.float32), track.noise * factor
        return replace(track, samples=samples, noise=noise, clipped=track.clipped | beyond)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechCorrelatedNoise:
    """The modulated noise reference unit of ITU-T P.810 without its band filter: noise at Q dB below each sample."""

    q_db: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> SpeechCorrelatedNoise:
        return cls(q_db=42.0 - 40.0 * severity, seed=int(rng.integers(2**31)))

    def apply(self, track: Track, library: Library) -> Track:
        noise = np.random.default_rng(self.seed).standard_normal(len(track.samples), np.float32)
        correlated = track.samples * noise * gain(-self.q_db)
        # it is heard as a rough voice more than as noise beside it: a fifth of its power counts as noise
        return replace(track, samples=track.samples + correlated, noise=track.noise + correlated * np.float32(0.45))


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """A spectral gate as noise suppressors have: bins near the assumed noise floor are turned down by `depth_db`."""

    floor_db: float  # assumed noise, to the active level of each band
    depth_db: float
    smoothing: float  # of the gain over time, 0 to 1; little of it leaves musical tones

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Suppression:
        return cls(
            floor_db=-32.0 + 38.0 * severity,
            depth_db=float(rng.uniform(12.0, 40.0)),
            smoothing=float(rng.uniform(0.0, 0.7)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        options = {"fs": SAMPLE_RATE_HZ, "nperseg": 512, "noverlap": 384}
        _, _, spectrum = scipy.signal.stft(track.samples, **options)
        power = np.abs(spectrum) ** 2
        assumed = np.mean(power, axis=1, keepdims=True) * 10 ** (self.floor_db / 10)
        gains = np.clip(1.0 - assumed / np.maximum(power, 1e-14), 10 ** (-self.depth_db / 20), 1.0)
        gains = scipy.signal.lfilter([1.0 - self.smoothing], [1.0, -self.smoothing], gains, axis=1)

        def through(values: np.ndarray) -> Samples:
            _, samples = scipy.signal.istft(values * gains, **options)
            return np.resize(samples, track.samples.shape).astype(np.float32)

        _, _, noise = scipy.signal.stft(track.noise, **options)
        return replace(track, samples=through(spectrum), noise=through(noise))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutes:
    """Stretches of silence with soft edges, as a voice detector, a radio fade or a frozen sender leaves them."""

    muted_ratio: float
    mean_seconds: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Mutes:
        return cls(
            muted_ratio=0.01 * (35.0**severity),
            mean_seconds=float(rng.uniform(0.04, 0.4)),
            seed=int(rng.integers(2**31)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        rng = np.random.default_rng(self.seed)
        length = len(track.samples)
        count = max(1, round(self.muted_ratio * length / SAMPLE_RATE_HZ / self.mean_seconds))
        muted = np.zeros(length, np.float32)
        for _ in range(count):
            start, stop = int(rng.integers(length)), self.mean_seconds * rng.uniform(0.5, 1.5) * SAMPLE_RATE_HZ
            muted[start : start + int(stop)] = 1.0
        edge = np.hanning(82)[1:-1].astype(np.float32)  # 5 ms
        muted = np.convolve(muted, edge / edge.sum(), mode="same").astype(np.float32)
        kept = 1.0 - muted
        return replace(
            track,
            samples=track.samples * kept,
            noise=track.noise * kept,
            gap=np.maximum(track.gap, muted),
            lost=track.lost | (muted > 0.5),
        )

"""What terminals do to speech on purpose: gain control, voice detection, comfort noise, noise suppression."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.signal

from livemos.agent.records import SAMPLE_RATE_HZ, Samples
from livemos.training.clips import ACTIVE_LEVEL_DBOV
from livemos.training.damages.additive import coloured_noise
from livemos.training.damages.track import Track
from livemos.training.levels import FRAME_SAMPLES, active_frames, active_level_dbov, frame_power, gain
from livemos.training.sources import Library

_MS = SAMPLE_RATE_HZ // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class GainPumping:
    """Automatic gain that follows the level too eagerly: background rises in pauses, onsets are too loud."""

    most_gain_db: float
    attack_ms: float
    release_ms: float
    background_db: float  # to the active level
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> GainPumping:
        return cls(
            most_gain_db=3.0 + 32.0 * severity,
            attack_ms=float(rng.uniform(5.0, 80.0)),
            release_ms=float(rng.uniform(80.0, 900.0)),
            background_db=float(rng.uniform(-60.0, -42.0)),
            seed=int(rng.integers(2**31)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        length = len(track.samples)
        hiss = coloured_noise(self.seed, length, -2.0) * gain(ACTIVE_LEVEL_DBOV + self.background_db)
        levels_db = 10 * np.log10(frame_power(track.samples + hiss) + 1e-10)
        up, down = np.exp(-10.0 / self.attack_ms), np.exp(-10.0 / self.release_ms)
        followed, now = np.empty(len(levels_db)), float(ACTIVE_LEVEL_DBOV)
        for k, level in enumerate(levels_db):
            keep = up if level > now else down
            now = keep * now + (1.0 - keep) * level
            followed[k] = now
        gains_db = np.clip(ACTIVE_LEVEL_DBOV - followed, -self.most_gain_db / 2, self.most_gain_db)
        moments = (np.arange(len(gains_db)) + 0.5) * FRAME_SAMPLES
        curve = (10 ** (np.interp(np.arange(length), moments, gains_db) / 20)).astype(np.float32)
        samples, noise = (track.samples + hiss) * curve, (track.noise + hiss) * curve
        factor = gain(active_level_dbov(track.samples) - active_level_dbov(samples))
        return replace(track, samples=samples * factor, noise=noise * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontClipping:
    """A voice detector that opens late: the first part of what follows a pause is missing."""

    late_ms: float
    open_ms: float  # how fast it opens then

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> FrontClipping:
        return cls(late_ms=12.0 * (28.0**severity), open_ms=float(rng.choice([1.0, 5.0, 30.0])))

    def apply(self, track: Track, library: Library) -> Track:
        active = active_frames(track.samples)
        onsets = np.flatnonzero(active & ~np.concatenate([[False], active[:-1]])) * FRAME_SAMPLES
        late, edge = int(self.late_ms * _MS), int(self.open_ms * _MS)
        kept = np.ones(len(track.samples), np.float32)
        for onset in onsets:
            # the detector is shut from before the onset on
            kept[max(0, onset - 30 * _MS) : onset + late] = 0.0
            rise = kept[onset + late : onset + late + edge]
            rise *= np.linspace(0.0, 1.0, edge, dtype=np.float32)[: len(rise)]
        gap = np.maximum(track.gap, 1.0 - kept)
        return replace(
            track,
            samples=track.samples * kept,
            noise=track.noise * kept,
            gap=gap.astype(np.float32),
            lost=track.lost | (kept < 0.5),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ComfortNoise:
    """Background noise that is sent with speech alone; pauses get made-up noise that does not match it, or nothing."""

    background_db: float  # to the active level
    mismatch_db: float
    background_slope: float
    comfort_slope: float
    silent: bool
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> ComfortNoise:
        return cls(
            background_db=-50.0 + 38.0 * severity,
            mismatch_db=float(rng.uniform(-12.0, 6.0)),
            background_slope=float(rng.uniform(-6.0, 0.0)),
            comfort_slope=float(rng.uniform(-4.0, 1.0)),
            silent=bool(rng.random() < 0.25),
            seed=int(rng.integers(2**31)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        length = len(track.samples)
        active = np.repeat(active_frames(track.samples), FRAME_SAMPLES)
        active = np.pad(active, (0, length - len(active)))
        background = coloured_noise(self.seed, length, self.background_slope)
        background *= gain(ACTIVE_LEVEL_DBOV + self.background_db)
        comfort = coloured_noise(self.seed + 1, length, self.comfort_slope)
        comfort *= gain(ACTIVE_LEVEL_DBOV + self.background_db + self.mismatch_db) * np.float32(not self.silent)
        samples = np.where(active, track.samples + background, comfort)
        noise = np.where(active, track.noise + background, comfort)
        return replace(track, samples=samples, noise=noise)


@dataclass(frozen=True, slots=True, kw_only=True)
class HardSuppression:
    """Suppression that bites into speech: gated bins, musical tones, words that sink, on clean or noisy speech."""

    over: float  # times the noise estimate that is subtracted
    depth_db: float
    exponent: float
    background_db: float | None  # noise before the suppressor, to the active level; None: clean speech
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> HardSuppression:
        background = None if rng.random() < 0.5 else float(rng.uniform(-35.0, -8.0))
        return cls(
            over=0.4 * (2000.0**severity),
            depth_db=float(rng.uniform(15.0, 60.0)),
            exponent=float(rng.uniform(0.7, 2.0)),
            background_db=background,
            seed=int(rng.integers(2**31)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        length = len(track.samples)
        noise = np.zeros(length, np.float32)
        assumed_db = -38.0
        if self.background_db is not None:
            noise = coloured_noise(self.seed, length, -3.0) * gain(ACTIVE_LEVEL_DBOV + self.background_db)
            assumed_db = self.background_db
        options = {"fs": SAMPLE_RATE_HZ, "nperseg": 320, "noverlap": 160}
        _, _, spectrum = scipy.signal.stft(track.samples + noise, **options)
        _, _, noise_spectrum = scipy.signal.stft(track.noise + noise, **options)
        power = np.abs(spectrum) ** 2
        loudest = np.sort(power.mean(axis=0))[-max(1, power.shape[1] // 4)]
        assumed = loudest * 10 ** (assumed_db / 10) * (1.0 + np.linspace(1.0, 0.0, len(power)))[:, None]
        gains = np.clip(1.0 - self.over * assumed / np.maximum(power, 1e-14), 0.0, 1.0) ** self.exponent
        gains = np.maximum(gains, 10 ** (-self.depth_db / 20))

        def through(values: np.ndarray) -> Samples:
            _, samples = scipy.signal.istft(values * gains, **options)
            return np.resize(samples, length).astype(np.float32)

        samples = through(spectrum)
        factor = gain(float(np.clip(active_level_dbov(track.samples) - active_level_dbov(samples), -30.0, 30.0)))
        return replace(track, samples=samples * factor, noise=through(noise_spectrum) * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """A constant added to every sample, as a poor converter does."""

    dc: float

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Offset:
        return cls(dc=float(rng.choice([-1.0, 1.0])) * 0.005 * (40.0**severity))

    def apply(self, track: Track, library: Library) -> Track:
        return replace(track, samples=track.samples + np.float32(self.dc))

"""What is added to speech: noise, music, hum, another talker, an echo."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft

from livemos.agent.records import SAMPLE_RATE_HZ, Samples
from livemos.training.clips import ACTIVE_LEVEL_DBOV
from livemos.training.damages.track import Track
from livemos.training.levels import active_level_dbov, gain, level_db
from livemos.training.sources import Library


def cut_loop(samples: Samples, start: int, length: int) -> Samples:
    """`length` samples from `start` on, around the end as often as needed."""
    piece: Samples = samples.take(np.arange(start, start + length), mode="wrap")
    return piece


def coloured_noise(seed: int, length: int, slope_db_per_octave: float) -> Samples:
    """Gaussian noise of unit power with the given spectral slope above 50 Hz."""
    spectrum = scipy.fft.rfft(np.random.default_rng(seed).standard_normal(length, np.float32))
    hz = np.maximum(np.linspace(0.0, SAMPLE_RATE_HZ / 2, len(spectrum)), 50.0)
    shaped: Samples = scipy.fft.irfft(spectrum * (hz / 1000.0) ** (slope_db_per_octave / 6.02), n=length)
    unit: Samples = (shaped / np.sqrt(np.mean(shaped**2))).astype(np.float32)
    return unit


def synthetic_music(seed: int, length: int) -> Samples:
    """Chords of decaying tones in a steady beat, peak about 1: tonal and rhythmic as speech is, and no speech."""
    rng = np.random.default_rng(seed)
    beat = int(SAMPLE_RATE_HZ * rng.uniform(0.15, 0.7))
    root_hz = float(rng.uniform(80.0, 330.0))
    time = np.arange(2 * beat) / SAMPLE_RATE_HZ
    decay = np.exp(-time * rng.uniform(0.5, 8.0)) * np.minimum(1.0, time / rng.uniform(0.002, 0.08))
    brightness = rng.uniform(0.4, 1.6)
    music = np.zeros(length + 2 * beat)
    for start in range(0, length, beat):
        for step in rng.choice([0, 2, 4, 5, 7, 9, 11, 12, 16, 19], size=int(rng.integers(1, 5)), replace=False):
            tone_hz = root_hz * 2.0 ** (step / 12.0)
            harmonics = np.arange(1, max(2, min(25, int(7_500.0 / tone_hz))))
            tones = np.sin(2 * np.pi * tone_hz * harmonics[:, None] * time) / harmonics[:, None] ** brightness
            music[start : start + 2 * beat] += decay * tones.sum(axis=0) * rng.uniform(0.3, 1.0)
        if rng.random() < 0.4:  # a drum
            music[start : start + beat] += rng.standard_normal(beat) * np.exp(-time[:beat] * 30.0)
    return (music[:length] / max(float(np.abs(music).max()), 1e-6)).astype(np.float32)


def _at_level(samples: Samples, level_dbov: float) -> Samples:
    power_db = level_db(float(np.mean(samples**2)))
    return samples * gain(level_dbov - power_db)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Recorded noise or music `path` from `start_sample`; without a path made-up music, or coloured noise."""

    snr_db: float
    path: str
    start_sample: int
    slope_db_per_octave: float
    seed: int
    music: bool = False

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Noise:
        files = library.of_kind("noise") if rng.random() < 0.85 else library.of_kind("music")
        path = "" if rng.random() < 0.3 or not files else files[rng.integers(len(files))].path
        return cls(
            snr_db=42.0 - 46.0 * severity,
            path=path,
            start_sample=int(rng.integers(0, 10**6)),
            slope_db_per_octave=float(rng.uniform(-6.0, 2.0)),
            seed=int(rng.integers(2**31)),
            music=bool(rng.random() < 0.15),
        )

    def apply(self, track: Track, library: Library) -> Track:
        length = len(track.samples)
        if self.path:
            noise = cut_loop(library.load(self.path), self.start_sample, length)
        elif self.music:
            noise = synthetic_music(self.seed, length)
        else:
            noise = coloured_noise(self.seed, length, self.slope_db_per_octave)
        noise = _at_level(noise, ACTIVE_LEVEL_DBOV - self.snr_db)
        return replace(track, samples=track.samples + noise, noise=track.noise + noise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hum:
    """Mains hum with falling harmonics, and a DC offset."""

    ratio_db: float
    mains_hz: float
    dc: float

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Hum:
        return cls(
            ratio_db=35.0 - 38.0 * severity, mains_hz=50.0 if rng.random() < 0.6 else 60.0, dc=rng.uniform(0, 0.02)
        )

    def apply(self, track: Track, library: Library) -> Track:
        time = np.arange(len(track.samples)) / SAMPLE_RATE_HZ
        tones = sum(np.sin(2 * np.pi * self.mains_hz * k * time + k) / k for k in (1, 2, 3, 5, 7, 10))
        hum = _at_level(np.asarray(tones, np.float32), ACTIVE_LEVEL_DBOV - self.ratio_db)
        return replace(track, samples=track.samples + hum + np.float32(self.dc), noise=track.noise + hum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Talker:
    """Other people speaking behind the talker: one voice, or several as babble."""

    ratio_db: float
    paths: tuple[str, ...]
    start_sample: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Talker:
        voices = library.of_kind("clean")
        count = int(rng.choice([1, 1, 2, 4, 6]))
        return cls(
            ratio_db=36.0 - 36.0 * severity,
            paths=tuple(voices[k].path for k in rng.integers(len(voices), size=count)),
            start_sample=int(rng.integers(0, 10**6)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        length = len(track.samples)
        voices = [cut_loop(library.load(path), self.start_sample, length) for path in self.paths]
        mixed = np.sum([voice * gain(ACTIVE_LEVEL_DBOV - active_level_dbov(voice)) for voice in voices], axis=0)
        mixed = (mixed * gain(-self.ratio_db) / np.float32(np.sqrt(len(voices)))).astype(np.float32)
        return replace(track, samples=track.samples + mixed, noise=track.noise + mixed, talker=track.talker + mixed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """The talker heard again, later and softer, as over an acoustic path without an echo canceller."""

    delay_ms: float
    attenuation_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Echo:
        return cls(delay_ms=float(rng.uniform(30.0, 400.0)), attenuation_db=42.0 - 38.0 * severity)

    def apply(self, track: Track, library: Library) -> Track:
        delay = round(self.delay_ms * SAMPLE_RATE_HZ / 1000)
        echo = np.zeros_like(track.samples)
        echo[delay:] = track.samples[:-delay] * gain(-self.attenuation_db)
        return replace(track, samples=track.samples + echo)

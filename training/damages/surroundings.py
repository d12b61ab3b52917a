"""What surrounds a talker and is made up here: wind, keys, machines, tones, babble, rooms, echoes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.signal

from livemos.agent.records import SAMPLE_RATE_HZ, Samples
from livemos.training.clips import ACTIVE_LEVEL_DBOV
from livemos.training.damages.additive import coloured_noise, cut_loop, synthetic_music
from livemos.training.damages.track import Track
from livemos.training.levels import active_level_dbov, gain, level_db
from livemos.training.sources import Library

_SPEED_OF_SOUND = 343.0


def _slow(rng: np.random.Generator, length: int, hz: float) -> np.ndarray:
    """A random curve of unit deviation that changes about `hz` times a second, (length,)."""
    knots = rng.standard_normal(max(4, int(length / SAMPLE_RATE_HZ * hz) + 3))
    places = np.linspace(0, len(knots) - 1, length)
    return np.asarray(np.interp(places, np.arange(len(knots)), knots))


def wind(seed: int, length: int) -> Samples:
    """Gusts on a microphone: rumble whose level swings by tens of decibels."""
    rng = np.random.default_rng(seed)
    rumble = coloured_noise(seed + 1, length, float(rng.uniform(-14.0, -7.0)))
    gusts = 10 ** (_slow(rng, length, float(rng.uniform(0.7, 4.0))) * rng.uniform(4.0, 10.0) / 20)
    return (rumble * gusts).astype(np.float32)


def keys(seed: int, length: int) -> Samples:
    """A keyboard: down and up clicks of a few milliseconds at an uneven pace."""
    rng = np.random.default_rng(seed)
    clicks = np.zeros(length + SAMPLE_RATE_HZ, np.float32)
    pace_hz = float(rng.uniform(2.0, 9.0))
    place = 0.0
    while place < length:
        for delay, loudness in ((0, 1.0), (int(rng.uniform(600, 2000)), 0.5)):
            span = int(rng.uniform(60, 400))
            shape = np.exp(-np.arange(span) / (span / 5.0)) * rng.standard_normal(span)
            start = int(place) + delay
            clicks[start : start + span] += (loudness * rng.uniform(0.3, 1.0) * shape).astype(np.float32)
        place += rng.exponential(SAMPLE_RATE_HZ / pace_hz) + 800
    # the desk carries the click
    desk = np.exp(-np.arange(800) / 150.0) * np.sin(2 * np.pi * rng.uniform(120, 900) * np.arange(800) / SAMPLE_RATE_HZ)
    return np.asarray(clicks[:length] + 0.1 * scipy.signal.fftconvolve(clicks, desk)[:length], np.float32)


def machine(seed: int, length: int) -> Samples:
    """Noise that beats or comes in bursts, with a few tones of a motor."""
    rng = np.random.default_rng(seed)
    time = np.arange(length) / SAMPLE_RATE_HZ
    noise = coloured_noise(seed + 1, length, float(rng.uniform(-8.0, 3.0)))
    swing = 1.0 + rng.uniform(0.3, 1.0) * np.sin(2 * np.pi * rng.uniform(0.5, 14.0) * time)
    if rng.random() < 0.4:
        swing = scipy.signal.square(2 * np.pi * rng.uniform(0.3, 4.0) * time, rng.uniform(0.2, 0.8)) * 0.48 + 0.52
    motor_hz = rng.uniform(40.0, 400.0) * (1.0 + 0.03 * np.cumsum(_slow(rng, length, 1.0)) / length)
    tones = sum(np.sin(2 * np.pi * motor_hz * k * time) * rng.uniform(0.0, 0.5) for k in range(1, 6))
    return np.asarray(noise * swing + tones, np.float32)


def tones(seed: int, length: int) -> Samples:
    """Ringing, dialling and warning tones, or a held chord: harmonic as a voice, and no voice."""
    rng = np.random.default_rng(seed)
    time = np.arange(length) / SAMPLE_RATE_HZ
    count = int(rng.integers(1, 5))
    frequencies_hz = rng.choice([350, 400, 425, 440, 480, 620, 697, 770, 852, 941, 1209, 1336, 1477, 2100], size=count)
    if rng.random() < 0.5:
        frequencies_hz = rng.uniform(90.0, 700.0) * 2 ** (rng.choice([0, 3, 4, 7, 10, 12, 16], size=count) / 12)
    vibrato = rng.uniform(0.0, 0.01) * np.sin(2 * np.pi * rng.uniform(3.0, 7.0) * time) / 5.0
    overtones = int(rng.integers(1, 9))
    parts = [
        np.sin(2 * np.pi * hz * k * (time + vibrato)) / k
        for hz in frequencies_hz
        for k in range(1, overtones + 1)
        if hz * k < SAMPLE_RATE_HZ / 2
    ]
    period, duty = rng.uniform(0.1, 3.0), rng.uniform(0.3, 1.0)
    keyed = (np.mod(time, period) < duty * period).astype(np.float64)
    keyed = np.convolve(keyed, np.ones(80) / 80, mode="same")
    return np.asarray(np.sum(parts, axis=0) * keyed, np.float32)


MAKERS: dict[str, Callable[[int, int], Samples]] = {
    "wind": wind,
    "keys": keys,
    "machine": machine,
    "tones": tones,
    "music": synthetic_music,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUpNoise:
    """Noise of one of MAKERS, by its mean power."""

    maker: str
    snr_db: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> MadeUpNoise:
        maker = str(rng.choice(list(MAKERS), p=[0.25, 0.25, 0.3, 0.1, 0.1]))
        return cls(maker=maker, snr_db=46.0 - 50.0 * severity, seed=int(rng.integers(2**31)))

    def apply(self, track: Track, library: Library) -> Track:
        noise = MAKERS[self.maker](self.seed, len(track.samples))
        power_db = level_db(float(np.mean(noise**2)))
        noise = noise * gain(ACTIVE_LEVEL_DBOV - self.snr_db - power_db)
        return replace(track, samples=track.samples + noise, noise=track.noise + noise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Babble:
    """Four to eight voices of the same split at once: noise made of speech, in which no one can be followed."""

    snr_db: float
    paths: tuple[str, ...]
    starts: tuple[int, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Babble:
        voices = library.of_kind("clean")
        count = int(rng.integers(4, 9))
        return cls(
            snr_db=42.0 - 43.0 * severity,
            paths=tuple(voices[k].path for k in rng.integers(len(voices), size=count)),
            starts=tuple(int(start) for start in rng.integers(10**6, size=count)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        length = len(track.samples)
        mixed = np.zeros(length, np.float32)
        for path, start in zip(self.paths, self.starts, strict=True):
            voice = cut_loop(library.load(path), start, length)
            mixed += voice * gain(-max(active_level_dbov(voice), -90.0))
        noise = mixed * gain(ACTIVE_LEVEL_DBOV - self.snr_db - level_db(float(np.mean(mixed**2))))
        return replace(track, samples=track.samples + noise, noise=track.noise + noise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A shoebox room: early reflections by mirror images, then decaying noise; direct sound at its own time."""

    size_m: tuple[float, float, float]
    decay_seconds: float  # by 60 dB
    distance_m: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Room:
        size = (float(rng.uniform(2.5, 10.0)), float(rng.uniform(2.2, 7.0)), float(rng.uniform(2.2, 4.0)))
        return cls._of(rng, severity, size)

    @classmethod
    def draw_corridor(cls, rng: np.random.Generator, severity: float, library: Library) -> Room:
        """A long and narrow one."""
        size = (float(rng.uniform(14.0, 40.0)), float(rng.uniform(1.4, 2.2)), float(rng.uniform(2.2, 3.0)))
        return cls._of(rng, severity, size)

    @classmethod
    def _of(cls, rng: np.random.Generator, severity: float, size: tuple[float, float, float]) -> Room:
        return cls(
            size_m=size,
            decay_seconds=0.12 * (10.0**severity) * float(rng.uniform(0.8, 1.2)),
            distance_m=0.15 * (14.0**severity),
            seed=int(rng.integers(2**31)),
        )

    def response(self) -> Samples:
        """(N,) float32, the direct sound first and of height 1."""
        rng = np.random.default_rng(self.seed)
        size = np.array(self.size_m)
        length = int(min(self.decay_seconds, 1.5) * SAMPLE_RATE_HZ) + 800
        talker = size * rng.uniform(0.25, 0.75, 3)
        ear = np.clip(talker + self.distance_m * np.array([0.8, 0.58, 0.15]), 0.1, size - 0.1)
        direct_m = float(np.linalg.norm(ear - talker))
        # Sabine: mean absorption that gives this decay
        surface = 2 * (size[0] * size[1] + size[1] * size[2] + size[0] * size[2])
        absorption = min(0.95, 0.161 * float(np.prod(size)) / surface / self.decay_seconds)
        order = np.arange(-3, 4)
        n = np.stack(np.meshgrid(order, order, order, indexing="ij"), axis=-1).reshape(-1, 3)
        images = n * size + np.where(n % 2 == 0, talker, size - talker)
        metres = np.linalg.norm(images - ear, axis=1)
        heights = (1.0 - absorption) ** (np.abs(n).sum(axis=1) / 2) / metres * direct_m
        delays = ((metres - direct_m) / _SPEED_OF_SOUND * SAMPLE_RATE_HZ).astype(int)
        early = (delays >= 0) & (delays < 800)
        response = np.zeros(length)
        np.add.at(response, delays[early], heights[early] * np.where(n[early].sum(axis=1) % 2, -1.0, 1.0))
        response[0] = 1.0
        tail = rng.standard_normal(length) * 10 ** (-3.0 * np.arange(length) / SAMPLE_RATE_HZ / self.decay_seconds)
        # diffuse against direct power: the critical distance of the room
        critical_m = 0.057 * np.sqrt(float(np.prod(size)) / self.decay_seconds)
        tail *= np.sqrt((direct_m / critical_m) ** 2 / max(float(np.sum(tail**2)), 1e-9))
        tail[:400] *= np.linspace(0.0, 1.0, 400)
        return np.asarray(response + tail, np.float32)

    def apply(self, track: Track, library: Library) -> Track:
        wet = scipy.signal.fftconvolve(track.samples, self.response())[: len(track.samples)].astype(np.float32)
        return replace(track, samples=wet * gain(active_level_dbov(track.samples) - active_level_dbov(wet)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnedEcho:
    """The voice again through a path that smears and filters it: the hybrid of a line, or a loudspeaker in a room."""

    delay_ms: float
    attenuation_db: float
    decay_ms: float
    low_hz: float
    high_hz: float
    seed: int

    @classmethod
    def draw_line(cls, rng: np.random.Generator, severity: float, library: Library) -> ReturnedEcho:
        """Short or long delay, a few milliseconds of dispersion, telephone band."""
        delay_ms = float(np.exp(rng.uniform(np.log(8.0), np.log(400.0))))
        return cls(
            delay_ms=delay_ms,
            attenuation_db=38.0 - 34.0 * severity,
            decay_ms=float(rng.uniform(1.0, 8.0)),
            low_hz=300.0,
            high_hz=3400.0,
            seed=int(rng.integers(2**31)),
        )

    @classmethod
    def draw_acoustic(cls, rng: np.random.Generator, severity: float, library: Library) -> ReturnedEcho:
        """Long delay, tens of milliseconds of room, a small loudspeaker."""
        return cls(
            delay_ms=float(rng.uniform(60.0, 600.0)),
            attenuation_db=38.0 - 36.0 * severity,
            decay_ms=float(rng.uniform(15.0, 120.0)),
            low_hz=float(rng.uniform(150.0, 500.0)),
            high_hz=float(rng.uniform(3000.0, 7000.0)),
            seed=int(rng.integers(2**31)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        rng = np.random.default_rng(self.seed)
        span = int(6 * self.decay_ms * SAMPLE_RATE_HZ / 1000)
        path = rng.standard_normal(span) * np.exp(-np.arange(span) * 1000 / SAMPLE_RATE_HZ / self.decay_ms)
        path[0] += 2.0
        band = scipy.signal.butter(2, [self.low_hz, self.high_hz], "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
        returned = scipy.signal.sosfilt(band, scipy.signal.fftconvolve(track.samples, path)[: len(track.samples)])
        delay = round(self.delay_ms * SAMPLE_RATE_HZ / 1000)
        echo = np.pad(returned, (delay, 0))[: len(returned)].astype(np.float32)
        level = max(active_level_dbov(echo), -90.0)
        echo *= gain(active_level_dbov(track.samples) - self.attenuation_db - level)
        return replace(track, samples=track.samples + echo)

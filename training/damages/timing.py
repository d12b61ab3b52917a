"""Faults of playout: packets skipped or doubled, stretched time, loops, wrong clocks, pieces cut out, gaps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from livemos.agent.records import SAMPLE_RATE_HZ, Samples
from livemos.training.damages.track import Places, Track, rearranged
from livemos.training.levels import FRAME_SAMPLES, active_frames
from livemos.training.sources import Library

_MS = SAMPLE_RATE_HZ // 1000
# how audible each fault is beside silence of the same length
_SLIP_AUDIBLE, _STRETCH_AUDIBLE, _LOOP_AUDIBLE, _RATE_AUDIBLE, _CUT_AUDIBLE = 0.8, 0.2, 0.8, 0.6, 0.7


def _fitted(source: Places, length: int) -> Places:
    """`length` places: what runs over is dropped, what is missing at the end is silence."""
    return np.pad(source[:length], (0, max(0, length - len(source))), constant_values=-1)


def _onto(track: Track, start: int, stop: int, audible: float) -> None:
    """Marks a stretch of a track whose gap and lost arrays belong to the caller."""
    track.gap[start:stop] = np.maximum(track.gap[start:stop], np.float32(audible))
    track.lost[start:stop] = True


def _own(track: Track) -> Track:
    return replace(track, gap=track.gap.copy(), lost=track.lost.copy())


def places_in_speech(seed: int, samples: Samples, count: int) -> list[int]:
    """`count` samples at random moments of active speech, in order; anywhere in a clip without speech."""
    rng = np.random.default_rng(seed)
    active = np.flatnonzero(active_frames(samples)) * FRAME_SAMPLES
    pool = active if len(active) else np.arange(0, len(samples), FRAME_SAMPLES)
    return sorted(int(place) for place in rng.choice(pool, size=count, replace=count > len(pool)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Slips:
    """A jitter buffer that skips a packet when it is full and plays one twice when it is empty."""

    packet_ms: int
    slips_per_second: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Slips:
        packet_ms = int(rng.choice([10, 20, 30, 60]))
        return cls(
            packet_ms=packet_ms,
            slips_per_second=0.3 * (40.0**severity) * (20.0 / packet_ms) ** 0.5,
            seed=int(rng.integers(2**31)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        rng = np.random.default_rng(self.seed)
        length, step = len(track.samples), self.packet_ms * _MS
        packets: list[int] = []
        joins: list[int] = []
        ahead = 0  # packets played too many
        for k in range(length // step + 1):
            times = 1
            if rng.random() < self.slips_per_second * self.packet_ms / 1000:
                times = 0 if rng.random() < 0.5 + 0.25 * np.clip(ahead, -2, 2) else 2
                # what follows a skipped packet, or the second copy of a doubled one
                joins.append(len(packets) + (times == 2))
            packets += [k] * times
            ahead += times - 1
        source = (np.array(packets)[:, None] * step + np.arange(step)).ravel()
        slipped = _own(rearranged(track, _fitted(np.where(source < length, source, -1), length)))
        for join in joins:
            _onto(slipped, join * step, join * step + step, _SLIP_AUDIBLE)
        return slipped


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeScaling:
    """A jitter buffer that stretches and compresses speech by overlapping similar pieces (in the manner of WSOLA).

    Each stretch lasts `stretch_seconds` and is made good again right after it.
    """

    factor: float  # of the speed, both ways
    stretch_seconds: float
    stretches: int
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> TimeScaling:
        return cls(
            factor=1.06 + 0.7 * severity,
            stretch_seconds=float(rng.uniform(0.15, 0.6)),
            stretches=1 + int(4 * severity),
            seed=int(rng.integers(2**31)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        length, hop = len(track.samples), 10 * _MS
        speed = np.ones(length // hop)
        span = max(1, round(self.stretch_seconds * SAMPLE_RATE_HZ / hop))
        for k, start in enumerate(places_in_speech(self.seed, track.samples, self.stretches)):
            first = start // hop
            fast, slow = self.factor, 2.0 - self.factor
            speed[first : first + span] = fast if k % 2 else slow
            back = round(span * abs(speed[min(first, len(speed) - 1)] - 1.0) / 0.3)
            speed[first + span : first + span + back] = 0.7 if k % 2 else 1.3
        nominal = np.minimum(np.concatenate([[0.0], np.cumsum(speed)[:-1]]) * hop, length - 3 * hop)
        samples, source = _overlapped(track.samples, nominal, hop)
        scaled = _own(rearranged(track, source, samples))
        for k in np.flatnonzero(np.abs(speed - 1.0) > 0.05).tolist():
            _onto(scaled, k * hop, k * hop + hop, _STRETCH_AUDIBLE)
        return scaled


def _overlapped(samples: Samples, nominal: np.ndarray, hop: int) -> tuple[Samples, Places]:
    """Frames of two hops near the `nominal` places, each where it continues the last one best."""
    window = np.hanning(2 * hop + 1)[:-1].astype(np.float32)
    heard = np.zeros(len(nominal) * hop + hop, np.float32)
    source = np.empty(len(nominal) * hop, np.intp)
    reach = hop // 2
    place = 0
    for k, wanted in enumerate(nominal.astype(np.intp)):
        expected = place + hop
        place = int(wanted)
        if k and abs(expected - wanted) > 1 and expected + 2 * hop <= len(samples):
            low = max(0, place - reach)
            around = samples[low : place + reach + 2 * hop]
            place = low + int(np.argmax(np.correlate(around, samples[expected : expected + 2 * hop], "valid")))
        elif k and expected + 2 * hop <= len(samples):
            place = expected
        heard[k * hop : k * hop + 2 * hop] += samples[place : place + 2 * hop] * window
        source[k * hop : k * hop + hop] = place + np.arange(hop)
    heard[:hop] = samples[:hop]
    return heard[: len(source)], source


@dataclass(frozen=True, slots=True, kw_only=True)
class Robotic:
    """Frames played again and again though packets keep arriving: the metallic buzz of a stuck decoder."""

    looped_ratio: float
    frame_ms: int
    mean_seconds: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Robotic:
        return cls(
            looped_ratio=0.015 * (40.0**severity),
            frame_ms=int(rng.choice([5, 10, 20, 30])),
            mean_seconds=float(rng.uniform(0.06, 0.5)),
            seed=int(rng.integers(2**31)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        length, frame = len(track.samples), self.frame_ms * _MS
        rng = np.random.default_rng(self.seed)
        source = np.arange(length)
        count = max(1, round(self.looped_ratio * length / SAMPLE_RATE_HZ / self.mean_seconds))
        stretches = []
        for start in places_in_speech(self.seed, track.samples, count):
            stop = min(length, start + int(self.mean_seconds * rng.uniform(0.5, 1.5) * SAMPLE_RATE_HZ))
            source[start:stop] = start + np.arange(stop - start) % frame
            stretches.append((start, stop))
        looped = _own(rearranged(track, source))
        for start, stop in stretches:
            _onto(looped, start, stop, _LOOP_AUDIBLE)
        # the words went on meanwhile: what is active is told by the clock, not by the loop
        return replace(looped, place=track.place)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongRate:
    """Stretches played with a wrong clock: twice as fast, half as fast, or 44.1 taken for 48 kHz."""

    speed: float
    wrong_ratio: float
    mean_seconds: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> WrongRate:
        return cls(
            speed=float(rng.choice([0.5, 0.5, 2.0, 2.0, 1.088, 0.919, 1.45, 0.69])),
            wrong_ratio=0.03 * (28.0**severity),
            mean_seconds=float(rng.uniform(0.1, 0.6)),
            seed=int(rng.integers(2**31)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        length = len(track.samples)
        count = max(1, round(self.wrong_ratio * length / SAMPLE_RATE_HZ / self.mean_seconds))
        position = np.arange(length, dtype=np.float64)
        span = int(self.mean_seconds * SAMPLE_RATE_HZ)
        wrong = _own(track)
        for start in places_in_speech(self.seed, track.samples, count):
            stop = min(length, start + span)
            position[start:stop] = start + np.arange(stop - start) * self.speed
            _onto(wrong, start, stop, _RATE_AUDIBLE)
        heard = np.interp(position, np.arange(length), track.samples).astype(np.float32)
        noise = np.interp(position, np.arange(length), track.noise).astype(np.float32)
        return replace(wrong, samples=heard, noise=noise)


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOut:
    """Pieces of speech that are missing with nothing in their place: the rest moves up."""

    cut_ratio: float
    piece_ms: int
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> CutOut:
        return cls(
            cut_ratio=0.008 * (28.0**severity),
            piece_ms=int(rng.choice([10, 20, 40, 60, 120])),
            seed=int(rng.integers(2**31)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        length, piece = len(track.samples), self.piece_ms * _MS
        kept = np.ones(length, np.bool_)
        for start in places_in_speech(self.seed, track.samples, max(1, round(self.cut_ratio * length / piece))):
            kept[start : start + piece] = False
        source = np.flatnonzero(kept)
        cut = _own(rearranged(track, _fitted(source, length)))
        for join in np.flatnonzero(np.diff(source) > 1) + 1:
            _onto(cut, int(join), min(length, int(join) + piece), _CUT_AUDIBLE)
        return cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """The line is dead for 0.2 to 1.5 s in the middle of speech, digitally silent or with a soft hiss."""

    seconds: float
    gaps: int
    hiss_dbov: float | None
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Gaps:
        hiss = float(rng.uniform(-80.0, -55.0)) if rng.random() < 0.4 else None
        return cls(
            seconds=0.2 + 1.3 * severity * float(rng.uniform(0.5, 1.0)),
            gaps=1 + int(2.2 * severity),
            hiss_dbov=hiss,
            seed=int(rng.integers(2**31)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        span = int(self.seconds * SAMPLE_RATE_HZ)
        dead = _own(track)
        samples, noise = track.samples.copy(), track.noise.copy()
        rng = np.random.default_rng(self.seed)
        for start in places_in_speech(self.seed, track.samples, self.gaps):
            stop = min(len(samples), start + span)
            noise[start:stop] = 0.0
            if self.hiss_dbov is not None:
                level = np.float32(10 ** (self.hiss_dbov / 20))
                noise[start:stop] = rng.standard_normal(stop - start, np.float32) * level
            samples[start:stop] = noise[start:stop]
            _onto(dead, start, stop, 1.0)
        return replace(dead, samples=samples, noise=noise)

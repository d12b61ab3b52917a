"""Speech made again from less than its waveform, as neural, parametric and starved transform codecs make it.

No neural codec is run here. What they leave of speech is imitated: a coarse spectral envelope, a phase that is partly
or wholly invented, pulses in place of a voice, and coefficients that were never sent. Each result is as long as its
input, in time with it and at its active level.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.ndimage

from livemos.agent.records import SAMPLE_RATE_HZ, Samples
from livemos.training.damages.track import Float32, Track
from livemos.training.levels import levelled
from livemos.training.sources import Library

_WINDOW, _HOP = 512, 128  # 32 ms every 8 ms
_BINS = _WINDOW // 2 + 1
_LAPS = _WINDOW // _HOP
_BIN_HZ = SAMPLE_RATE_HZ / _WINDOW
_MOMENTUM = 0.9  # of fast Griffin-Lim (Perraudin, Balazs, Sondergaard, 2013)
_FLOOR = 1e-9
_PITCH_WINDOW = 1024
_LAGS = slice(SAMPLE_RATE_HZ // 400, SAMPLE_RATE_HZ // 65)
_VOICED = 0.45  # normalised autocorrelation from which a frame has a pitch

Spectrum = npt.NDArray[np.complex64]


@lru_cache(maxsize=1)
def _root_hann() -> Float32:
    """The root of a periodic Hann window over the sum of its overlapping squares: analysis and synthesis give 1."""
    periodic = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    return np.sqrt(periodic / (0.5 * _LAPS)).astype(np.float32)


def _cut(samples: Samples, window: int, hop: int) -> Float32:
    """(T, window) overlapping pieces, the second centred on sample 0, so that each sample lies in as many."""
    lead = window // 2 + hop
    frames = (lead + len(samples) - 1) // hop + 1
    padded = np.zeros((frames - 1) * hop + window, np.float32)
    padded[lead : lead + len(samples)] = samples
    return np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]


def _spectrum(samples: Samples) -> Spectrum:
    """(T, _BINS) short-time spectrum."""
    found: Spectrum = scipy.fft.rfft(_cut(samples, _WINDOW, _HOP) * _root_hann(), axis=1)
    return found


def _sound(spectrum: Spectrum, length: int) -> Samples:
    """The samples of a short-time spectrum; the inverse of `_spectrum`."""
    pieces = (scipy.fft.irfft(spectrum, _WINDOW, axis=1) * _root_hann()).reshape(-1, _LAPS, _HOP)
    rows = np.zeros((len(pieces) + _LAPS - 1, _HOP), np.float32)
    for lap in range(_LAPS):
        rows[lap : lap + len(pieces)] += pieces[:, lap]
    start = _WINDOW // 2 + _HOP
    return np.ascontiguousarray(rows.reshape(-1)[start : start + length], np.float32)


@lru_cache(maxsize=8)
def _mel_weights(bands: int) -> tuple[Float32, Float32]:
    """(_BINS, bands) means over triangles on the mel scale, and (bands, _BINS) the way back by linear interpolation."""
    hz = np.arange(_BINS) * _BIN_HZ
    mel = 2595.0 * np.log10(1.0 + hz / 700.0)
    centres = np.linspace(0.0, mel[-1], bands)
    # no triangle is narrower than what holds one bin
    width = np.maximum(centres[1], np.interp(centres, mel, np.gradient(mel)))
    down = np.maximum(0.0, 1.0 - np.abs(mel[:, None] - centres) / width)
    up = np.array([np.interp(mel, centres, unit) for unit in np.eye(bands)])
    return (down / down.sum(axis=0)).astype(np.float32), up.astype(np.float32)


def _held(values: Float32, step: int) -> Float32:
    """(T, B) with the frames between every `step`-th interpolated."""
    if step == 1:
        return values
    frames = np.arange(len(values))
    before = np.minimum(frames // step * step, len(values) - 1)
    after = np.minimum(before + step, len(values) - 1)
    share = ((frames - before) / step).astype(np.float32)[:, None]
    held: Float32 = values[before] * (1 - share) + values[after] * share
    return held


def _phases(values: Spectrum) -> Spectrum:
    return np.asarray(values / np.maximum(np.abs(values), np.float32(1e-12)), np.complex64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocoder:
    """Resynthesis from a quantised log-mel spectrum with a phase that is corrupted and made consistent again.

    A frame is 8 ms. detail: share of the true fine structure of the log spectrum that is kept. smoothing_frames:
    deviation of the Gaussian that blurs the envelope. phase_radians: deviation of the noise on the true phase; from 2.5
    on nothing is left of it. kept_below_hz: what lies below is the true sound.
    """

    mel_bands: int
    frame_step: int  # from one envelope to the next
    quantum_db: float
    dithered: bool
    smoothing_frames: float
    detail: float
    phase_radians: float
    iterations: int
    kept_below_hz: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Vocoder:
        coarsest, longest, blur, quantum = rng.uniform(18, 45), int(rng.integers(1, 4)), rng.random(), rng.random()
        loosest, iterations, dithered = rng.uniform(1.9, 3.2), int(rng.integers(2, 13)), bool(rng.random() < 0.5)
        keeps, sharp = rng.random() < 0.3, rng.uniform(1.0, 2.0)
        return cls(
            mel_bands=round(128.0 * (coarsest / 128.0) ** severity),
            frame_step=1 + round((longest - 1) * severity),
            quantum_db=6.0 * quantum * severity,
            dithered=dithered,
            smoothing_frames=1.6 * blur * severity,
            detail=(1.0 - severity) ** (2.0 * sharp),
            phase_radians=0.15 + (loosest - 0.15) * severity**0.8,
            iterations=iterations,
            kept_below_hz=1500.0 * 0.2**severity if keeps else 0.0,
            seed=int(rng.integers(2**31)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        rng = np.random.default_rng(self.seed)
        true = _spectrum(track.samples)
        magnitude = self._magnitude(np.abs(true), rng)
        noise = rng.standard_normal(true.shape, np.float32) * np.float32(self.phase_radians)
        phases = _phases(true) * np.exp(np.complex64(1j) * noise)
        before = phases * magnitude
        # sound and spectrum in turns until they belong together, each step thrown a little further than it went
        for _ in range(self.iterations):
            consistent = _spectrum(_sound(magnitude * phases, len(track.samples)))
            phases = _phases(consistent + np.float32(_MOMENTUM) * (consistent - before))
            before = consistent
        made = magnitude * phases
        share = np.clip((np.arange(_BINS) * _BIN_HZ - self.kept_below_hz) / 200.0, 0.0, 1.0).astype(np.float32)
        if self.kept_below_hz:
            made = share * made + (1 - share) * true
        return replace(track, samples=levelled(_sound(made, len(track.samples)), track.samples))

    def _magnitude(self, magnitude: Float32, rng: np.random.Generator) -> Float32:
        """What is left of (T, _BINS) magnitudes."""
        down, up = _mel_weights(self.mel_bands)
        bands_db = 10 * np.log10(magnitude**2 @ down + np.float32(_FLOOR))
        if self.smoothing_frames > 0.1:
            bands_db = scipy.ndimage.gaussian_filter1d(bands_db, self.smoothing_frames, axis=0)
        bands_db = bands_db[:: self.frame_step]
        if self.quantum_db:
            dither = rng.random(bands_db.shape, np.float32) - np.float32(0.5) if self.dithered else np.float32(0.0)
            bands_db = np.round(bands_db / np.float32(self.quantum_db) + dither) * np.float32(self.quantum_db)
        envelope_db = _held(np.repeat(bands_db, self.frame_step, axis=0)[: len(magnitude)], self.frame_step) @ up
        true_db = 20 * np.log10(magnitude + np.float32(1e-6))
        kept_db = envelope_db + np.float32(self.detail) * (true_db - envelope_db)
        return np.asarray(10 ** (kept_db / 20), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseVocoder:
    """Linear prediction driven by pulses and noise in place of its residual (in the manner of LPC-10 and MELP).

    residual: share of the true residual in the excitation. pitch_error: relative quantum of the pitch. pulses_below_hz:
    a voiced frame is noise above. high_hz: upper edge of what is sent.
    """

    order: int
    frame_step: int  # frames of 8 ms from one envelope to the next
    residual: float
    pitch_error: float
    pulses_below_hz: float
    high_hz: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> PulseVocoder:
        pitch, mixed, narrow = rng.random(), rng.uniform(1500.0, 9000.0), rng.random() < 0.4
        longest, fewest = int(rng.integers(1, 4)), rng.uniform(10.0, 16.0)
        return cls(
            order=round(20.0 + (fewest - 20.0) * severity),
            frame_step=1 + round((longest - 1) * severity),
            residual=max(0.0, 1.0 - severity / 0.85) ** 0.4 * 0.98,
            pitch_error=0.15 * pitch * severity,
            pulses_below_hz=mixed,
            high_hz=max(3600.0, 8000.0 - 8000.0 * severity) if narrow else 8000.0,
            seed=int(rng.integers(2**31)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        rng = np.random.default_rng(self.seed)
        length = len(track.samples)
        true = _spectrum(track.samples)
        inverse = _inverse_filters(np.abs(true) ** 2, self.order, self.frame_step)
        residual = true * inverse
        powers = (np.abs(residual) ** 2).mean(axis=1, keepdims=True)
        pitch_hz = _pitch_hz(track.samples)[: len(true)]
        if self.pitch_error:
            steps = np.log(np.maximum(pitch_hz, 1.0)) / self.pitch_error
            pitch_hz = np.where(pitch_hz > 0, np.exp(np.round(steps) * self.pitch_error), 0.0)
        pulses, noise = _spectrum(_pulse_train(pitch_hz, length)), _spectrum(rng.standard_normal(length, np.float32))
        low = np.arange(_BINS) * _BIN_HZ < self.pulses_below_hz
        made = np.where((pitch_hz > 0)[:, None] & low, pulses, noise)
        made *= np.sqrt(powers / np.maximum((np.abs(made) ** 2).mean(axis=1, keepdims=True), np.float32(_FLOOR)))
        share = np.float32(self.residual)
        excitation = share * residual + np.sqrt(1 - share**2) * made
        sent = np.clip((self.high_hz + 200.0 - np.arange(_BINS) * _BIN_HZ) / 200.0, 0.0, 1.0).astype(np.float32)
        samples = _sound((excitation / inverse * sent).astype(np.complex64), length)
        return replace(track, samples=levelled(samples, track.samples))


def _inverse_filters(powers: Float32, order: int, step: int) -> Spectrum:
    """(T, _BINS) response of the prediction error filter of each frame, by the recursion of Levinson and Durbin."""
    correlation = scipy.fft.irfft(powers, axis=1)[:, : order + 1].astype(np.float64)
    correlation[:, 0] = correlation[:, 0] * 1.0005 + _FLOOR  # a floor 33 dB down keeps the recursion stable
    held = np.arange(len(correlation)) // step * step + step // 2  # the middle one stands for its neighbours
    correlation = correlation[np.minimum(held, len(correlation) - 1)]
    filters = np.zeros_like(correlation)
    filters[:, 0] = 1.0
    error = correlation[:, 0].copy()
    for k in range(1, order + 1):
        reflection = -np.einsum("tk,tk->t", filters[:, :k], correlation[:, k:0:-1]) / error
        filters[:, 1 : k + 1] += reflection[:, None] * filters[:, k - 1 :: -1][:, :k]
        error *= 1.0 - reflection**2
    response: Spectrum = scipy.fft.rfft(filters.astype(np.float32), _WINDOW, axis=1)
    return response


def _pitch_hz(samples: Samples) -> npt.NDArray[np.float64]:
    """(T,) pitch of frames every 8 ms by the highest peak of the autocorrelation, 0 where there is none."""
    pieces = _cut(samples, _PITCH_WINDOW, _HOP) * np.hanning(_PITCH_WINDOW).astype(np.float32)
    power = np.abs(scipy.fft.rfft(pieces, 2 * _PITCH_WINDOW, axis=1)) ** 2
    correlation = scipy.fft.irfft(power, axis=1)[:, : _LAGS.stop]
    window = np.hanning(_PITCH_WINDOW)
    shape = np.correlate(window, window, "full")[_PITCH_WINDOW - 1 :][: _LAGS.stop]
    there = correlation / (shape / shape[0]) / np.maximum(correlation[:, :1], np.float32(1e-3))
    best = np.argmax(there[:, _LAGS.start :], axis=1) + _LAGS.start
    voiced = there[np.arange(len(best)), best] > _VOICED
    pitch: npt.NDArray[np.float64] = scipy.ndimage.median_filter(np.where(voiced, SAMPLE_RATE_HZ / best, 0.0), 5)
    return pitch


def _pulse_train(pitch_hz: npt.NDArray[np.float64], length: int) -> Samples:
    """(length,) one pulse a period, of unit power; silent without pitch."""
    frames = np.minimum((np.arange(length) + _HOP // 2) // _HOP + 1, len(pitch_hz) - 1)
    each = pitch_hz[frames]
    periods = np.floor(np.cumsum(each) / SAMPLE_RATE_HZ)
    train = np.zeros(length, np.float32)
    places = np.flatnonzero(np.diff(periods) > 0) + 1
    train[places] = np.sqrt(SAMPLE_RATE_HZ / np.maximum(each[places], 1.0))
    return train


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectralHoles:
    """A transform codec with too few bits: coefficients under a threshold are not sent, noise may take their place.

    threshold: of a coefficient to the level of its band. momentary: how far that level follows the frame, 0 to 1; where
    it does not, soft bands come and go and sing. fill: noise in the holes, to what was there.
    """

    frame_ms: int
    bands: int
    threshold: float
    momentary: float
    fill: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> SpectralHoles:
        return cls(
            frame_ms=int(rng.choice([10, 20, 40])),
            bands=int(rng.integers(12, 31)),
            momentary=float(rng.uniform(0.2, 0.8)),
            fill=float(rng.choice([0.0, rng.uniform(0.1, 0.9)])),
            threshold=0.07 * (3.0 / 0.07) ** severity,
            seed=int(rng.integers(2**31)),
        )

    def apply(self, track: Track, library: Library) -> Track:
        rng = np.random.default_rng(self.seed)
        size = self.frame_ms * SAMPLE_RATE_HZ // 1000
        sent = _lapped(track.samples, size)
        hz = (np.arange(size) + 0.5) * SAMPLE_RATE_HZ / 2 / size
        scale = np.log1p(hz / 700.0)
        band = np.minimum(self.bands - 1, (scale / scale[-1] * self.bands).astype(int))
        member = (band[:, None] == np.arange(self.bands)).astype(np.float32)
        member = member[:, member.any(axis=0)]
        power = sent**2 @ (member / member.sum(axis=0))
        level = np.maximum(power, _FLOOR) ** (self.momentary / 2)
        level *= np.maximum(power.mean(axis=0), _FLOOR) ** ((1 - self.momentary) / 2)
        holes = np.abs(sent) < self.threshold * (level @ member.T)
        lost = np.where(holes, sent, np.float32(0.0))
        deviation = np.sqrt(lost**2 @ (member / member.sum(axis=0))) @ member.T
        noise = rng.standard_normal(sent.shape, np.float32) * np.float32(self.fill)
        heard = _unlapped(np.where(holes, noise * deviation, sent).astype(np.float32), len(track.samples))
        return replace(track, samples=levelled(heard, track.samples))


def _sine(size: int) -> Float32:
    return np.sin(np.pi * (np.arange(2 * size) + 0.5) / (2 * size)).astype(np.float32)


def _lapped(samples: Samples, size: int) -> Float32:
    """(T, size) coefficients of the modified discrete cosine transform with a sine window."""
    blocks = -(-len(samples) // size) + 2
    padded = np.zeros(blocks * size, np.float32)
    padded[size : size + len(samples)] = samples
    rows = padded.reshape(blocks, size)
    a, b, c, d = np.split(np.concatenate([rows[:-1], rows[1:]], axis=1) * _sine(size), 4, axis=1)
    folded = np.concatenate([-c[:, ::-1] - d, a - b[:, ::-1]], axis=1)
    coefficients: Float32 = scipy.fft.dct(folded, type=4, norm="ortho", axis=1)
    return coefficients


def _unlapped(coefficients: Float32, length: int) -> Samples:
    """The samples of `_lapped`."""
    size = coefficients.shape[1]
    first, second = np.split(scipy.fft.dct(coefficients, type=4, norm="ortho", axis=1), 2, axis=1)
    pieces = np.concatenate([second, -second[:, ::-1], -first[:, ::-1], -first], axis=1) * _sine(size)
    rows = np.zeros((len(pieces) + 1, size), np.float32)
    rows[:-1] += pieces[:, :size]
    rows[1:] += pieces[:, size:]
    return np.ascontiguousarray(rows.reshape(-1)[size : size + length])

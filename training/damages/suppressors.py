"""Noise suppressors that calls really pass through: WebRTC's, Speex's and RNNoise, behind recorded or made-up noise.

Each is a library of its own (extra `train`); none of them can be imitated by a spectral gate with random parameters:
what they leave of a noise and what they take from the speech is their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.signal
import soxr

from livemos.agent.errors import ConfigError
from livemos.agent.records import SAMPLE_RATE_HZ, Samples
from livemos.training.damages.additive import Noise
from livemos.training.damages.track import Track
from livemos.training.levels import gain
from livemos.training.sources import Library

Pcm = npt.NDArray[np.int16]

_FULL_BAND_HZ = 48_000
_LEARN_SECONDS = 2.0  # the clip is led in by itself, so that no suppressor is heard starting up
_LIMIT_DB = 20.0  # of the gain that restores the level
_DELAY_LIMIT_SAMPLES = 800


def _library(module: str, distribution: str) -> Any:
    try:
        return import_module(module)
    except ImportError as missing:
        raise ConfigError(
            f"this set of damages needs the suppressor {distribution}; pip install 'livemos[train]'"
        ) from missing


def _frames(samples: Pcm, frame: int) -> Pcm:
    return np.pad(samples, (0, -len(samples) % frame)).reshape(-1, frame)


def webrtc(samples: Pcm, strength: int) -> Pcm:
    """WebRTC's audio processing at 16 kHz; strength 1 to 4 is its level of suppression."""
    processor = _library("webrtc_noise_gain", "webrtc-noise-gain").AudioProcessor(0, strength)
    frames = _frames(samples, SAMPLE_RATE_HZ // 100)
    return np.frombuffer(b"".join(processor.Process10ms(frame.tobytes()).audio for frame in frames), np.int16)


def speex(samples: Pcm, strength: int) -> Pcm:
    """Speex's preprocessor at 16 kHz; it has one strength, taken once or twice (strength above 2)."""
    for _ in range(1 if strength <= 2 else 2):
        suppressor = _library("speexdsp_ns", "speexdsp-ns").NoiseSuppression.create(160, SAMPLE_RATE_HZ)
        samples = np.frombuffer(
            b"".join(suppressor.process(frame.tobytes()) for frame in _frames(samples, 160)), np.int16
        )
    return samples


def rnnoise(samples: Pcm, strength: int) -> Pcm:
    """RNNoise at its own 48 kHz; a strength below 4 lets some of its input through, as products do."""
    library = _library("pyrnnoise.rnnoise", "pyrnnoise")
    state = library.create()
    wide = soxr.resample(samples.astype(np.float32), SAMPLE_RATE_HZ, _FULL_BAND_HZ)
    pcm = np.clip(np.round(wide), -32768, 32767).astype(np.int16)
    try:
        made = [library.process_mono_frame(state, frame)[0] for frame in _frames(pcm, library.FRAME_SIZE)]
    finally:
        library.destroy(state)
    narrow = soxr.resample(np.concatenate(made).astype(np.float32), _FULL_BAND_HZ, SAMPLE_RATE_HZ)
    narrow = np.pad(narrow, (0, max(0, len(samples) - len(narrow))))
    passed = {1: 0.25, 2: 0.12, 3: 0.05}.get(strength, 0.0)
    late = _delayed(samples, narrow[: len(samples)])
    mixed = (1.0 - passed) * narrow[: len(samples)] + passed * late
    return np.clip(np.round(mixed), -32768, 32767).astype(np.int16)


# set "fourth" draws from these: another one belongs to a set that no shipped recipe names
SUPPRESSORS: dict[str, Callable[[Pcm, int], Pcm]] = {"webrtc": webrtc, "speex": speex, "rnnoise": rnnoise}


def _delay_samples(before: npt.NDArray[np.floating] | Pcm, after: npt.NDArray[np.floating] | Pcm) -> int:
    """By how much `after` comes later, by correlation."""
    length = min(len(before), len(after))
    one, other = before[:length].astype(np.float64), after[:length].astype(np.float64)
    lags = scipy.signal.correlate(other, one, "full")[length - 1 : length - 1 + _DELAY_LIMIT_SAMPLES]
    return int(np.argmax(lags))


def _delayed(before: Pcm, after: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    delay = _delay_samples(before, after)
    return np.pad(before.astype(np.float32), (delay, 0))[: len(before)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppressor:
    """A noise, and the suppressor `name` behind it at the given strength, 1 to 4; the level of the speech is kept.

    noise: parameters of additive.Noise.
    """

    name: str
    strength: int
    noise: Noise

    @classmethod
    def draw(cls, rng: np.random.Generator, severity: float, library: Library) -> Suppressor:
        name = str(rng.choice(list(SUPPRESSORS)))
        strength = int(rng.integers(1, 5))
        return cls(name=name, strength=strength, noise=replace(Noise.draw(rng, severity, library), music=False))

    def apply(self, track: Track, library: Library) -> Track:
        noisy = self.noise.apply(track, library)
        lead = int(_LEARN_SECONDS * SAMPLE_RATE_HZ)
        # 10 dB below the level on the way: peaks of noise and speech shall not clip in 16 bits
        scale = 32768.0 * float(gain(-10.0))
        entering = np.concatenate([noisy.samples[:lead][::-1], noisy.samples]) * scale
        pcm = np.clip(np.round(entering), -32768, 32767).astype(np.int16)
        made = SUPPRESSORS[self.name](pcm, self.strength)[: len(pcm)].astype(np.float32) / scale
        delay = _delay_samples(entering, made)
        made = np.pad(made[delay:], (0, delay + max(0, len(pcm) - len(made))))[lead : lead + len(track.samples)]
        samples = made.astype(np.float32)
        noise = _left(noisy.samples, samples, noisy.noise)
        factor = self._restoring(track, samples, noise)
        return replace(noisy, samples=samples * factor, noise=noise * factor)

    @staticmethod
    def _restoring(track: Track, samples: Samples, noise: Samples) -> np.float32:
        """Gain that brings the speech back to its level of before."""
        speech = float(np.mean(samples**2) - np.mean(noise**2))
        before = float(np.mean(track.samples**2) - np.mean(track.noise**2))
        change_db = 10.0 * np.log10(max(before, 1e-9) / max(speech, 1e-9))
        return gain(float(np.clip(change_db, -_LIMIT_DB, _LIMIT_DB)))


def _left(before: Samples, after: Samples, noise: Samples) -> Samples:
    """What is left of the noise: it is turned down, bin by bin, as the sum of speech and noise was."""
    options = {"fs": SAMPLE_RATE_HZ, "nperseg": 512, "noverlap": 384}
    _, _, entered = scipy.signal.stft(before, **options)
    _, _, left = scipy.signal.stft(after, **options)
    _, _, of_noise = scipy.signal.stft(noise, **options)
    ratio = np.minimum(np.abs(left) / np.maximum(np.abs(entered), 1e-9), 1.0)
    _, samples = scipy.signal.istft(of_noise * ratio, **options)
    return np.resize(samples, noise.shape).astype(np.float32)

"""Known orders on speech that was never trained on: cleaner must score higher, and what is no speech must be noticed.

The clips are recordings of the test split as they are (any licence: nothing of them leaves with a model), at -26 dBov.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from livemos.agent.features import LogMel
from livemos.agent.records import SAMPLE_RATE_HZ, SEGMENT_SAMPLES, STRIDE_SAMPLES, Samples
from livemos.training.clips import ACTIVE_LEVEL_DBOV
from livemos.training.damages.additive import Noise
from livemos.training.damages.channel import Clipping, Telephone
from livemos.training.damages.track import Damage, Track
from livemos.training.damages.transmission import Transmission
from livemos.training.levels import active_level_dbov, gain
from livemos.training.models.base import OUTPUTS
from livemos.training.sources import Library, Recording

Score = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]  # features (B, T, F) -> outputs (B, K)
_MINIMUM_SECONDS = 4.0
_SEED = 11


def _loss(encoding: str, lost_ratio: float, concealment: str) -> Transmission:
    return Transmission(
        encoding=encoding,
        packet_ms=20,
        lost_ratio=lost_ratio,
        mean_burst_packets=1.0,
        concealment=concealment,
        seed=_SEED,
        bitrate_bps=24_000 if encoding.startswith("opus") else None,
    )


def _white(snr_db: float, path: str = "") -> Noise:
    return Noise(snr_db=snr_db, path=path, start_sample=0, slope_db_per_octave=0.0, seed=_SEED)


def conditions(noise_path: str) -> dict[str, Damage | None]:
    """What is done to each clip, by name; `noise_path` is the recorded noise."""
    made: dict[str, Damage | None] = {"clean": None}
    for snr_db in (20, 5):
        made[f"white noise {snr_db} dB"] = _white(float(snr_db))
        made[f"recorded noise {snr_db} dB"] = _white(float(snr_db), noise_path)
    for encoding, concealment, name in (
        ("L16/16000", "zero", "zero-filled"),
        ("PCMU/8000", "pitch", "PCMU concealed"),
        ("opus/48000/2", "zero", "Opus concealed"),
    ):
        for percent in (5, 20):
            made[f"{percent} % lost, {name}"] = _loss(encoding, percent / 100, concealment)
    made["clipped at 0.3"] = Clipping(peak_ratio=0.3, soft=False)
    made["clipped at 0.1"] = Clipping(peak_ratio=0.1, soft=False)
    made["telephone band"] = Telephone(low_hz=300.0, high_hz=3400.0)
    return made


ORDERS: tuple[tuple[str, str], ...] = (  # (better, worse)
    ("clean", "white noise 20 dB"),
    ("white noise 20 dB", "white noise 5 dB"),
    ("clean", "recorded noise 20 dB"),
    ("recorded noise 20 dB", "recorded noise 5 dB"),
    ("clean", "5 % lost, zero-filled"),
    ("5 % lost, zero-filled", "20 % lost, zero-filled"),
    ("clean", "5 % lost, PCMU concealed"),
    ("5 % lost, PCMU concealed", "20 % lost, PCMU concealed"),
    ("clean", "5 % lost, Opus concealed"),
    ("5 % lost, Opus concealed", "20 % lost, Opus concealed"),
    ("clean", "clipped at 0.3"),
    ("clipped at 0.3", "clipped at 0.1"),
    ("clean", "telephone band"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """means: condition -> mean of each output over the clips. violations: one count an order, of `clips`.

    speech_passed, others_refused: segments the presence threshold judged rightly, (right, all) by condition.
    """

    clips: int
    means: dict[str, dict[str, float]]
    violations: dict[tuple[str, str], int]
    speech_passed: dict[str, tuple[int, int]]
    others_refused: dict[str, tuple[int, int]]


def unseen_clips(data: Path, count: int) -> tuple[Library, list[Recording]]:
    """`count` recordings of the test split, one a speaker, the longest first among equals by name."""
    library = Library.open(data, "test", permissive=False)
    long = [each for each in library.of_kind("clean") if each.seconds >= _MINIMUM_SECONDS]
    by_speaker = {each.speaker: each for each in sorted(long, key=lambda each: (each.snr_db or 0.0, each.path))}
    best = sorted(by_speaker.values(), key=lambda each: (-(each.snr_db or 0.0), each.path))
    return library, best[:count]


def segment_outputs(samples: Samples, score: Score, front_end: LogMel) -> npt.NDArray[np.float32]:
    """(B, K) outputs of all whole segments of `samples`."""
    starts = range(0, len(samples) - SEGMENT_SAMPLES + 1, STRIDE_SAMPLES)
    return score(np.stack([front_end(samples[start : start + SEGMENT_SAMPLES]) for start in starts]))


def probe(data: Path, count: int, score: Score, minimum_speech_ratio: float) -> ProbeResult:
    """Score `count` unseen clips in every condition, and what is no speech."""
    library, recordings = unseen_clips(data, count)
    front_end = LogMel()
    noises = [each for each in library.of_kind("noise") if each.seconds > 3]
    presence = OUTPUTS.index("speech_ratio")
    scores: dict[str, list[npt.NDArray[np.float32]]] = {}
    passed: dict[str, tuple[int, int]] = {}
    for number, recording in enumerate(recordings):
        clean = library.load(recording.path)
        clean = clean * gain(ACTIVE_LEVEL_DBOV - active_level_dbov(clean))
        for name, damage in conditions(noises[number * 7 % len(noises)].path).items():
            track = Track.of(clean, front_end.mel_bands)
            damaged = damage.apply(track, library) if damage else track
            outputs = segment_outputs(np.clip(damaged.samples, -1, 1).astype(np.float32), score, front_end)
            heard = outputs[:, presence] >= minimum_speech_ratio
            right, every = passed.get(name, (0, 0))
            passed[name] = (right + int(heard.sum()), every + len(heard))
            weight = outputs[:, presence] * heard
            scores.setdefault(name, []).append((outputs * weight[:, None]).sum(axis=0) / max(float(weight.sum()), 1e-6))
    clip_scores = {name: np.array(rows) for name, rows in scores.items()}
    return ProbeResult(
        clips=len(recordings),
        means={name: dict(zip(OUTPUTS, rows.mean(axis=0).tolist(), strict=True)) for name, rows in clip_scores.items()},
        violations={
            (better, worse): int((clip_scores[better][:, 0] <= clip_scores[worse][:, 0]).sum())
            for better, worse in ORDERS
        },
        speech_passed=passed,
        others_refused=_without_speech(library, score, front_end, minimum_speech_ratio),
    )


def _without_speech(
    library: Library, score: Score, front_end: LogMel, minimum_speech_ratio: float
) -> dict[str, tuple[int, int]]:
    voices = {"babble", "conversation", "playground"}  # made of voices: speech is present there
    length = 4 * SAMPLE_RATE_HZ
    rng = np.random.default_rng(_SEED)
    white = rng.standard_normal(length).astype(np.float32)
    sounds = {
        "digital silence": [np.zeros(length, np.float32)],
        "dither": [(white * gain(-96.0))],
        "white noise": [white * gain(level) for level in (-70.0, -50.0, -30.0)],
        "hum": [np.sin(2 * np.pi * 50.0 * np.arange(length) / SAMPLE_RATE_HZ).astype(np.float32) * np.float32(0.1)],
        "recorded noise": [
            library.load(each.path)
            for each in library.of_kind("noise")
            if each.category not in voices and each.seconds >= 2.0
        ],
        "music": [library.load(each.path) for each in library.of_kind("music") if each.seconds >= 2.0],
    }
    refused: dict[str, tuple[int, int]] = {}
    for name, clips in sounds.items():
        said = np.concatenate(
            [segment_outputs(clip, score, front_end)[:, OUTPUTS.index("speech_ratio")] for clip in clips]
        )
        refused[name] = (int((said < minimum_speech_ratio).sum()), len(said))
    return refused

"""What moves each output: clean clips against known damage, and sounds that must get no score at all."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from livemos.agent.errors import ConfigError
from livemos.agent.records import SAMPLE_RATE_HZ, ClipScore, Samples
from livemos.agent.scorer import Scorer
from livemos.agent.sources.audio_file import audio_files, read_audio
from livemos.training.evaluation.figures import SEED, Row
from livemos.training.evaluation.ladder import LADDER, at_level, damaged, white_noise
from livemos.training.evaluation.scored import DIMENSIONS, at_16k
from livemos.training.evaluation.statistics import Float, bootstrap, resample_weights
from livemos.training.levels import active_frames, gain

CLEAN = "clean"
LADDER_COLUMNS = (
    *("damage", "own_dimension", "clips", "unset"),
    *("mos", "mos_low", "mos_high", "mos_std"),
    *(f"{name}{end}" for name in DIMENSIONS[1:] for end in ("", "_std")),
    *("worst_second", "lowered_ratio"),
)
PRESENCE_COLUMNS = ("sound", "wanted", "right_segments", "segments", "right_ratio", "goal_met")
PRESENCE_GOAL = 0.95
_VOICES = ("babble", "bar-crowd", "cafe", "coffee-shop", "conversation", "playground", "baby")  # voices are speech
_SECONDS = 6
_SPEECH_FRAMES_RATIO = 0.4  # a second of clean speech this active must be scored
_LEVEL_DBOV = -30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """ladder: the clean clips first, then changes. presence: shares of segments rightly scored or left unset."""

    ladder: list[Row]
    presence: list[Row]


def read_clean(folder: Path, least: int = 2) -> list[Samples]:
    """Clips of a folder at 16 kHz, in order of name. Raises ConfigError, SourceError."""
    if not folder.is_dir():
        raise ConfigError(
            f"{folder} is no folder; give a folder of clean recordings with --clean, e.g. tests/data/clean"
        )
    clips = [at_16k(*read_audio(file)) for file in audio_files(folder)]
    if len(clips) < least:
        raise ConfigError(
            f"{folder} holds {len(clips)} recordings; at least {least} are needed, one talks over another"
        )
    return clips


def measure(
    clips: Sequence[Samples], others: dict[str, list[Samples]], scorer: Scorer, done: Callable[[], object]
) -> Robustness:
    """Score every clip in every condition, calling `done` after each condition.

    others: kinds of recordings without speech, by name.
    """
    clean = [scorer.score(at_level(clip), SAMPLE_RATE_HZ) for clip in clips]
    rows: list[Row] = [_row(CLEAN, "", clean, clean)]
    done()
    for name, rung in LADDER.items():
        answers = [
            scorer.score(damaged(clip, clips[(number + 1) % len(clips)], rung, number), SAMPLE_RATE_HZ)
            for number, clip in enumerate(clips)
        ]
        rows.append(_row(name, rung.dimension, answers, clean))
        done()
    presence = list(_presence(clips, others, scorer))
    done()
    return Robustness(ladder=rows, presence=presence)


def _scores(clips: Sequence[ClipScore]) -> np.ndarray:
    """(N, 6): DIMENSIONS, and the lowest segment."""
    return np.array(
        [
            [
                *(getattr(clip, name) for name in DIMENSIONS),
                min((each.mos for each in clip.segments if each.mos is not None), default=None),
            ]
            for clip in clips
        ],
        float,
    )


def _row(name: str, own: str, answers: Sequence[ClipScore], before: Sequence[ClipScore]) -> Row:
    scores, clean = _scores(answers), _scores(before)
    known = np.isfinite(scores).all(axis=1) & np.isfinite(clean).all(axis=1)
    change = scores[known] if name == CLEAN else scores[known] - clean[known]
    row: Row = {"damage": name, "own_dimension": own, "clips": len(scores), "unset": int((~known).sum())}
    for column, dimension in enumerate((*DIMENSIONS, "worst_second")):
        row[dimension] = float(change[:, column].mean()) if known.any() else None
        row[f"{dimension}_std"] = float(change[:, column].std()) if known.any() else None
    row["lowered_ratio"] = None if name == CLEAN or not known.any() else float((change[:, 0] < 0).mean())
    if known.any():
        weights = resample_weights([str(clip) for clip in np.flatnonzero(known)], SEED)
        interval = bootstrap(_mean, change[:, 0], change[:, 0], weights)
        row |= {"mos_low": interval.low, "mos_high": interval.high}
    return row


def _mean(values: Float, _same: Float, weights: Float) -> Float:
    return np.asarray((values * weights).sum(axis=-1) / weights.sum(axis=-1))


def own_against_others(ladder: Sequence[Row]) -> list[Row]:
    """Per dimension the mean fall for the damages that are its own, and for those that are another's."""
    rows: list[Row] = []
    for dimension in DIMENSIONS[1:]:
        named = [row for row in ladder if row["own_dimension"] and row[dimension] is not None]
        own = [-_number(row[dimension]) for row in named if row["own_dimension"] == dimension]
        foreign = [-_number(row[dimension]) for row in named if row["own_dimension"] != dimension]
        if own and foreign:
            rows.append(
                {
                    "dimension": dimension,
                    "own_mean_fall": float(np.mean(own)),
                    "others_mean_fall": float(np.mean(foreign)),
                    "others_largest_fall": float(np.max(foreign)),
                }
            )
    return rows


def _number(value: object) -> float:
    return float(str(value))


def _presence(clips: Sequence[Samples], others: dict[str, list[Samples]], scorer: Scorer) -> Iterator[Row]:
    for name, sounds in {**synthetic_sounds(), **others}.items():
        segments = [segment for sound in sounds for segment in scorer.score(sound, SAMPLE_RATE_HZ).segments]
        yield _share(name, "unset", [segment.mos is None for segment in segments])
    rng = np.random.default_rng(_SECONDS)
    noisy: dict[str, list[Samples]] = {
        "speech, clean": [at_level(clip) for clip in clips],
        "speech, white noise 5 dB": [white_noise(at_level(clip), 5.0, rng) for clip in clips],
    }
    recorded = [noise for name, kind in others.items() if "noise" in name for noise in kind]
    if recorded:
        noisy["speech, recorded noise 5 dB"] = [
            _mixed(clip, recorded[number * 7 % len(recorded)]) for number, clip in enumerate(clips)
        ]
    for name, sounds in noisy.items():
        right = []
        for clip, sound in zip(clips, sounds, strict=True):
            active = active_frames(clip)
            for segment in scorer.score(np.clip(sound, -1, 1).astype(np.float32), SAMPLE_RATE_HZ).segments:
                frame = segment.start_sample // 160
                if active[frame : frame + 100].mean() >= _SPEECH_FRAMES_RATIO:
                    right.append(segment.mos is not None)
        yield _share(name, "scored", right)


def _mixed(clip: Samples, noise: Samples) -> Samples:
    """Speech at -26 dBov with noise of 5 dB less power."""
    around = np.resize(noise, len(clip))
    power = float(np.mean(np.square(around))) + 1e-12
    return at_level(clip) + around * np.float32(10.0 ** ((-26.0 - 5.0) / 20) / np.sqrt(power))


def _share(name: str, wanted: str, right: Sequence[bool]) -> Row:
    return {
        "sound": name,
        "wanted": wanted,
        "right_segments": sum(right),
        "segments": len(right),
        "right_ratio": sum(right) / len(right) if right else None,
        "goal_met": bool(right) and sum(right) >= PRESENCE_GOAL * len(right),
    }


def synthetic_sounds() -> dict[str, list[Samples]]:
    """Sounds without speech that need no recording: (N,) float32 each, six seconds."""
    rng = np.random.default_rng(_SECONDS)
    length = _SECONDS * SAMPLE_RATE_HZ
    time = np.arange(length) / SAMPLE_RATE_HZ

    def tones(*frequencies_hz: float) -> Samples:
        wave = np.sum([np.sin(2 * np.pi * hz * time) for hz in frequencies_hz], axis=0)
        return np.asarray(wave / np.sqrt(np.mean(wave**2)), np.float32) * gain(_LEVEL_DBOV)

    def noise(slope: float) -> Samples:
        spectrum = np.fft.rfft(rng.standard_normal(length))
        hz = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ), 30.0)
        wave = np.fft.irfft(spectrum * hz**slope, n=length)
        return np.asarray(wave / np.sqrt(np.mean(wave**2)), np.float32)

    # half a second on and off (busy), a quarter (congestion)
    cadence, congestion = (time % 1.0 < 0.5).astype(np.float32), (time % 0.5 < 0.25).astype(np.float32)
    return {
        "digital silence": [np.zeros(length, np.float32)],
        "line noise -80 dBov": [noise(0.0) * gain(-80.0)],
        "white noise": [noise(0.0) * gain(level) for level in (-60.0, -45.0, -30.0)],
        "pink noise": [noise(-0.5) * gain(level) for level in (-60.0, -45.0, -30.0)],
        "tones": [tones(hz) for hz in (50.0, 200.0, 440.0, 1_000.0, 3_000.0)],
        "dial tone": [tones(350.0, 440.0), tones(425.0)],
        "busy tone": [tones(425.0) * cadence, tones(480.0, 620.0) * cadence, tones(425.0) * congestion],
        "ringing tone": [tones(425.0) * (time % 5.0 < 1.0), tones(440.0, 480.0) * (time % 6.0 < 2.0)],
        "key tones": [tones(770.0, 1_336.0) * cadence, tones(697.0, 1_209.0) * congestion],
    }


def recorded_sounds(data: Path) -> dict[str, list[Samples]]:
    """Noise without voices and music of the data folder, as its manifest.csv names them. Raises ConfigError."""
    manifest = data / "manifest.csv"
    if not manifest.is_file():
        raise ConfigError(f"{data} has no manifest.csv; give the data folder with --data, or leave --data away")
    with manifest.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    sounds: dict[str, list[Samples]] = {}
    for kind, name in (("noise", "recorded noise"), ("music", "music")):
        sounds[name] = [
            at_16k(*read_audio(data / row["path"]))
            for row in rows
            # held-out recordings alone: the others taught the model what is no speech
            if row["kind"] == kind and row["split"] == "test" and row["category"] not in _VOICES
        ]
    return {name: recordings for name, recordings in sounds.items() if recordings}

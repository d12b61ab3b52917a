"""Speech that sets the scales of an int8 graph, and other speech that judges it: recordings, damaged simply."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.signal
import soundfile

from livemos.agent.errors import ConfigError
from livemos.agent.features import LogMel
from livemos.agent.records import SAMPLE_RATE_HZ, SEGMENT_SAMPLES, Samples

TESTS_SPEECH = Path("tests/data/clean")
_SUFFIXES = {".wav", ".flac"}
_SEGMENTS_A_FILE = 6
_SEED = 7
_PACKET_SAMPLES = 320

Features = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CalibrationSpeech:
    """Features (B, T, F): of every second recording to set scales with, of the others to judge the result on."""

    setting: Features
    judging: Features


def calibration_speech(folder: Path, front_end: LogMel) -> CalibrationSpeech:
    """Segments of the wav and flac files of `folder` (16 kHz), each through each damage. Raises ConfigError."""
    files = sorted(file for file in folder.glob("*") if file.suffix in _SUFFIXES) if folder.is_dir() else []
    recordings = [segments for segments in map(_segments, files) if len(segments)]
    if len(recordings) < 2:
        raise ConfigError(
            f"calibration: {folder} has {len(recordings)} wav or flac files of 1 s or more; give a folder with two "
            "or more"
        )
    rng = np.random.default_rng(_SEED)
    halves: tuple[list[Samples], list[Samples]] = ([], [])
    for index, segments in enumerate(recordings):
        for segment in segments:
            halves[index % 2].extend(damaged(segment, rng).values())
    setting, judging = (front_end(np.stack(half)) for half in halves)
    return CalibrationSpeech(setting, judging)


def _segments(file: Path) -> Samples:
    """(segments, samples): the first seconds of a recording, none of one under 1 s. Raises ConfigError."""
    most = _SEGMENTS_A_FILE * SEGMENT_SAMPLES
    try:
        samples, rate_hz = soundfile.read(file, most, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as unread:
        raise ConfigError(f"calibration: {file} cannot be read ({unread}); remove it or copy it again") from unread
    if rate_hz != SAMPLE_RATE_HZ:
        raise ConfigError(f"calibration: {file} has {rate_hz} Hz; give recordings of {SAMPLE_RATE_HZ} Hz")
    whole = len(samples) // SEGMENT_SAMPLES
    first: Samples = samples[: whole * SEGMENT_SAMPLES, 0].reshape(whole, SEGMENT_SAMPLES)
    return first


def damaged(segment: Samples, rng: np.random.Generator) -> dict[str, Samples]:
    """The segment (N,) as it is and in five simple ways, by name; float32."""
    level = float(np.sqrt(np.mean(np.square(segment, dtype=np.float64)))) + 1e-5
    hiss = rng.standard_normal(len(segment))
    lost = rng.random(-(-len(segment) // _PACKET_SAMPLES)) < 0.15
    telephone = scipy.signal.butter(6, [300, 3_400], "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    made = {
        "as it is": segment,
        "loud": np.clip(segment * (0.1 / level), -1.0, 1.0),
        "clipped": np.clip(segment * (0.3 / level), -0.4, 0.4),
        "hiss": segment + 0.3 * level * hiss,
        "lost packets": segment * ~np.repeat(lost, _PACKET_SAMPLES)[: len(segment)],
        "telephone band": scipy.signal.sosfilt(telephone, segment),
    }
    return {name: np.ascontiguousarray(samples, np.float32) for name, samples in made.items()}

"""Clean speech, language by language, beside a reference model on the same clips.

Recordings of different languages differ in room, microphone and codec, so a language's mean says little alone: what
counts is whether livemos departs from the reference more there than elsewhere. Clips stand at -26 dBov active level,
because Distill-MOS divides by the peak and livemos marks a wrong level down.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from livemos.agent.errors import ConfigError
from livemos.agent.records import SAMPLE_RATE_HZ, Samples
from livemos.agent.scorer import Scorer
from livemos.agent.sources.audio_file import read_audio
from livemos.training.evaluation.figures import SEED, Row
from livemos.training.evaluation.ladder import at_level
from livemos.training.evaluation.scored import at_16k
from livemos.training.evaluation.statistics import Float, bootstrap, resample_weights

LANGUAGE_COLUMNS = (
    *("language", "clips", "speakers", "held_out_clips", "unset", "livemos", "distill_mos", "difference"),
    *("beside_all", "beside_all_low", "beside_all_high"),
)
_LEAST_SPEAKERS = 4  # an interval of fewer says nothing
ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanClip:
    """One recording of clean speech. held_out: the simulator's training split never drew from it."""

    path: str
    language: str
    speaker: str
    held_out: bool


def read_clean_set(data: Path) -> list[CleanClip]:
    """The clean recordings at 16 kHz that manifest.csv names. Raises ConfigError."""
    manifest = data / "manifest.csv"
    if not manifest.is_file():
        raise ConfigError(f"{data} has no manifest.csv; give the data folder with --data")
    with manifest.open(newline="", encoding="utf-8") as lines:
        clips = [
            CleanClip(
                path=row["path"], language=row["language"], speaker=row["speaker"], held_out=row["split"] != "train"
            )
            for row in csv.DictReader(lines)
            if row["kind"] == "clean"
        ]
    if not clips:
        raise ConfigError(f"{manifest} names no clean recordings (kind = clean); languages cannot be compared")
    return clips


def load(data: Path, clip: CleanClip) -> Samples:
    """(N,) at 16 kHz and -26 dBov active level. Raises SourceError."""
    return at_level(at_16k(*read_audio(data / clip.path)))


def read_reference(file: Path, clips: Sequence[CleanClip]) -> dict[str, float]:
    """Distill-MOS by path, as `ask_reference` wrote it. Raises ConfigError where a clip is missing from it."""
    with file.open(newline="", encoding="utf-8") as lines:
        scores = {row["path"]: float(row["distill_mos"]) for row in csv.DictReader(lines)}
    missing = [clip.path for clip in clips if clip.path not in scores]
    if missing:
        raise ConfigError(
            f"{file} does not score {missing[0]} and {len(missing) - 1} more; remove it, and it is made anew"
        )
    return scores


def ask_reference(data: Path, clips: Sequence[CleanClip], done: Callable[[], object]) -> dict[str, float]:
    """Distill-MOS of every whole clip, a third of a second each on one core, calling `done` after each.

    Raises ConfigError without the package.
    """
    if find_spec("distillmos") is None:
        raise ConfigError("Distill-MOS is not installed; pip install 'livemos[peers]', or give its scores: --reference")
    import torch

    torch.set_num_threads(1)
    model = import_module("distillmos").ConvTransformerSQAModel().eval()
    scores = {}
    with torch.no_grad():
        for clip in clips:
            scores[clip.path] = float(model(torch.from_numpy(load(data, clip))[None]))
            done()
    return scores


def reference_text(scores: dict[str, float]) -> str:
    """The CSV that `read_reference` reads."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("path", "distill_mos"))
    writer.writerows((path, f"{mos:.4f}") for path, mos in scores.items())
    return buffer.getvalue()


def score_clips(data: Path, clips: Sequence[CleanClip], scorer: Scorer, done: Callable[[], object]) -> Float:
    """(N,) what `livemos score` answers, NaN where unset, calling `done` after each."""
    scores = []
    for clip in clips:
        scores.append(scorer.score(load(data, clip), SAMPLE_RATE_HZ).mos)
        done()
    return np.array(scores, float)


def language_rows(clips: Sequence[CleanClip], mos: Float, reference: Float, resamples: int) -> list[Row]:
    """One row a language, most clips first, and one for all.

    difference: mean of livemos less the reference. beside_all: that of the language less that of all clips, with the
    95 % interval over resampled speakers.
    """
    both = np.isfinite(mos) & np.isfinite(reference)
    overall = float((mos - reference)[both].mean()) if both.any() else float("nan")
    languages = np.array([clip.language for clip in clips])
    names, counts = np.unique(languages, return_counts=True)
    order = [str(names[k]) for k in np.lexsort((names, -counts))]
    rows = []
    for language in [ALL, *order]:
        inside = np.ones(len(clips), bool) if language == ALL else languages == language
        chosen = inside & both
        row: Row = {
            "language": language,
            "clips": int(inside.sum()),
            "speakers": len({clip.speaker for clip, of in zip(clips, inside, strict=True) if of}),
            "held_out_clips": sum(clip.held_out for clip, of in zip(clips, inside, strict=True) if of),
            "unset": int((inside & ~np.isfinite(mos)).sum()),
        }
        if chosen.any():
            difference = float((mos - reference)[chosen].mean())
            row |= {"livemos": float(mos[chosen].mean()), "distill_mos": float(reference[chosen].mean())}
            row |= {"difference": difference, "beside_all": difference - overall}
            row |= _interval(clips, chosen, mos - reference - overall, resamples)
        rows.append(row)
    return rows


def _interval(clips: Sequence[CleanClip], chosen: np.ndarray, values: Float, resamples: int) -> Row:
    speakers = [clip.speaker for clip, of in zip(clips, chosen, strict=True) if of]
    if len(set(speakers)) < _LEAST_SPEAKERS:
        return {}
    weights = resample_weights(speakers, SEED, resamples)
    interval = bootstrap(_mean, values[chosen], values[chosen], weights)
    return {"beside_all_low": interval.low, "beside_all_high": interval.high}


def _mean(values: Float, _same: Float, weights: Float) -> Float:
    return np.asarray((values * weights).sum(axis=-1) / weights.sum(axis=-1))

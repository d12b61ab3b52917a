"""Who gives a simulated clip its scores. A labeler is a function of clips and a line in LABELERS.

    pesq      pesq_wb against the clean clip; pesq_first_half, pesq_second_half (3.5 s each) where damage is local
    distill   distill_mos, the permissive reference-free teacher Distill-MOS, on every 16th family

NaN stands for "not asked" and for "no answer". No labeler here, and nothing that ships, hears NISQA.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from livemos.agent.errors import ConfigError
from livemos.agent.records import Samples
from livemos.training.clips import CLIP_SAMPLES
from livemos.training.damages import DAMAGES
from livemos.training.simulator import SimulatedClip

Scores = dict[str, npt.NDArray[np.float32]]

_NAN = float("nan")


def pesq_wb(reference: Samples, degraded: Samples) -> float:
    """P.862.2 score of two clips at 16 kHz; NaN where PESQ hears no utterance."""
    from pesq import NoUtterancesError, pesq

    if not reference.any() or not degraded.any():
        return _NAN  # PESQ scales by the peak
    try:
        # PESQ hears a constant as a thump at the start; listeners and the features do not
        return float(pesq(16_000, reference, degraded - degraded.mean(), "wb"))
    except NoUtterancesError:
        return _NAN


def _pesq(clips: list[SimulatedClip]) -> Scores:
    half = CLIP_SAMPLES // 2
    rows = []
    for clip in clips:
        row = [_NAN, _NAN, _NAN]
        if clip.reference is not None:
            row[0] = pesq_wb(clip.reference, clip.samples)
            # elsewhere the halves say what the whole says, at the same price
            if any(DAMAGES[kind].local for kind, _ in clip.damages) and clip.truth.lost_ratio.any():
                row[1] = pesq_wb(clip.reference[:half], clip.samples[:half])
                row[2] = pesq_wb(clip.reference[half:], clip.samples[half:])
        rows.append(row)
    columns = np.array(rows, np.float32).T
    return dict(zip(LABELERS["pesq"].columns, columns, strict=True))


@lru_cache(maxsize=1)
def _distill_model() -> Any:
    import torch

    torch.set_num_threads(1)
    return import_module("distillmos").ConvTransformerSQAModel().eval()


def _distill(clips: list[SimulatedClip]) -> Scores:
    import torch

    scores = np.full(len(clips), np.nan, np.float32)
    for k, clip in enumerate(clips):
        if clip.reference is not None and clip.family % LABELERS["distill"].every == 0:
            with torch.no_grad():
                scores[k] = float(_distill_model()(torch.from_numpy(clip.samples)[None]))
    return {"distill_mos": scores}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labeler:
    """columns: what it writes. every: it hears families whose number this divides. package: what it needs installed."""

    score: Callable[[list[SimulatedClip]], Scores]
    columns: tuple[str, ...]
    package: str
    every: int = 1


LABELERS: dict[str, Labeler] = {
    "pesq": Labeler(score=_pesq, columns=("pesq_wb", "pesq_first_half", "pesq_second_half"), package="pesq"),
    "distill": Labeler(score=_distill, columns=("distill_mos",), package="distillmos", every=16),
}


def check(names: Iterable[str]) -> None:
    """Raises ConfigError for a labeler that is unknown, or whose package is not installed."""
    for name in names:
        if name not in LABELERS:
            raise ConfigError(f'no labeler is called "{name}"; choose from {", ".join(LABELERS)}')
        if find_spec(LABELERS[name].package) is None:
            raise ConfigError(
                f"the labeler {name} needs {LABELERS[name].package}: pip install {LABELERS[name].package}"
            )


def label(name: str, clips: list[SimulatedClip]) -> Scores:
    """What labeler `name` says: each of its columns, one value a clip."""
    return LABELERS[name].score(clips)

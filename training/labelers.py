"""Who gives a simulated clip its scores. A labeler is a function of clips and a line in LABELERS.

    pesq      pesq_wb against the clean clip; pesq_first_half, pesq_second_half (3.5 s each) where damage is local
    distill   distill_mos, the permissive reference-free teacher Distill-MOS, on every 16th family
    dnsmos    dnsmos_sig, dnsmos_bak, dnsmos_ovrl of DNSMOS P.835, on every 16th family: right about noise
    plcmos    plcmos_mos of PLCMOS v2, on every 16th family: right about lost packets

dnsmos and plcmos are files (MIT) in the folder given with --models.

NaN stands for "not asked" and for "no answer". No labeler here, and nothing that ships, hears NISQA.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
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
_DNSMOS_SAMPLES = 144_160


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


def _pesq(clips: list[SimulatedClip], models: Path | None) -> Scores:
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


def _distill(clips: list[SimulatedClip], models: Path | None) -> Scores:
    import torch

    scores = np.full(len(clips), np.nan, np.float32)
    for k, clip in enumerate(clips):
        if _heard("distill", clip):
            with torch.no_grad():
                scores[k] = float(_distill_model()(torch.from_numpy(clip.samples)[None]))
    return {"distill_mos": scores}


@lru_cache(maxsize=2)
def _session(file: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def dnsmos(session: Any, samples: Samples) -> tuple[float, float, float]:
    """SIG, BAK and OVRL of DNSMOS P.835 with its published polynomials; a clip shorter than 9.01 s is repeated."""
    sig, bak, ovrl = session.run(None, {"input_1": np.resize(samples, _DNSMOS_SAMPLES)[None]})[0][0].tolist()
    return (
        -0.08398 * sig**2 + 1.22084 * sig + 0.00524,
        -0.13167 * bak**2 + 1.60916 * bak - 0.39605,
        -0.06766 * ovrl**2 + 1.11546 * ovrl + 0.04603,
    )


def plcmos(session: Any, samples: Samples, raters: int = 5) -> float:
    """PLCMOS v2, the mean over simulated raters that are the same for every clip."""
    padded = np.pad(samples, (256, 256))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 512)[::256] * np.hamming(512)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    features = (np.log(np.maximum(power, 1e-12)) / 20).astype(np.float32)[None, None]
    who = np.random.default_rng(0).standard_normal((raters, 64)).astype(np.float32)
    answers = [session.run(None, {"degraded_audio": features, "rater_embed": each[None]})[0] for each in who]
    return float(np.mean(answers))


def _dnsmos(clips: list[SimulatedClip], models: Path | None) -> Scores:
    rows = np.full((3, len(clips)), np.nan, np.float32)
    for k, clip in enumerate(clips):
        if _heard("dnsmos", clip):
            rows[:, k] = dnsmos(_session(_model_file("dnsmos", models)), clip.samples)
    return dict(zip(LABELERS["dnsmos"].columns, rows, strict=True))


def _plcmos(clips: list[SimulatedClip], models: Path | None) -> Scores:
    scores = np.full(len(clips), np.nan, np.float32)
    for k, clip in enumerate(clips):
        if _heard("plcmos", clip):
            scores[k] = plcmos(_session(_model_file("plcmos", models)), clip.samples)
    return {"plcmos_mos": scores}


def _heard(name: str, clip: SimulatedClip) -> bool:
    return clip.reference is not None and clip.family % LABELERS[name].every == 0


def _model_file(name: str, models: Path | None) -> Path:
    if models is None or not (models / LABELERS[name].model).exists():
        raise ConfigError(f"the labeler {name} needs {LABELERS[name].model}; give its folder with --models")
    return models / LABELERS[name].model


@dataclass(frozen=True, slots=True, kw_only=True)
class Labeler:
    """columns: what it writes. every: it hears families whose number this divides. package: what it needs installed.

    model: the file it needs in the folder given with --models.
    """

    score: Callable[[list[SimulatedClip], Path | None], Scores]
    columns: tuple[str, ...]
    package: str
    every: int = 1
    model: str = ""


LABELERS: dict[str, Labeler] = {
    "pesq": Labeler(score=_pesq, columns=("pesq_wb", "pesq_first_half", "pesq_second_half"), package="pesq"),
    "distill": Labeler(score=_distill, columns=("distill_mos",), package="distillmos", every=16),
    "dnsmos": Labeler(
        score=_dnsmos,
        columns=("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl"),
        package="onnxruntime",
        every=16,
        model="dnsmos_p835.onnx",
    ),
    "plcmos": Labeler(score=_plcmos, columns=("plcmos_mos",), package="onnxruntime", every=16, model="plcmos_v2.onnx"),
}


def check(names: Iterable[str], models: Path | None) -> None:
    """Raises ConfigError for a labeler that is unknown, or whose package or model file is not there."""
    for name in names:
        if name not in LABELERS:
            raise ConfigError(f'no labeler is called "{name}"; choose from {", ".join(LABELERS)}')
        package = LABELERS[name].package
        if find_spec(package) is None:
            raise ConfigError(f"the labeler {name} needs {package}: pip install {package}")
        if LABELERS[name].model:
            _model_file(name, models)


def label(name: str, clips: list[SimulatedClip], models: Path | None) -> Scores:
    """What labeler `name` says: each of its columns, one value a clip."""
    return LABELERS[name].score(clips, models)

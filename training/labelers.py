"""Who gives a simulated clip its scores. A labeler is a function of clips and a line in LABELERS.

    pesq      pesq_wb against the clean clip; pesq_first_half, pesq_second_half (3.5 s each) where damage is local
    distill   distill_mos, the permissive reference-free teacher Distill-MOS, on every 16th family
    dnsmos    dnsmos_sig, dnsmos_bak, dnsmos_ovrl of DNSMOS P.835, on every 4th family: right about noise
    plcmos    plcmos_mos of PLCMOS v2, on every 16th family: right about lost packets
    cs22      cs22_b1, cs22_b2 of each second: baselines of the ConferencingSpeech 2022 challenge, every 2nd family
    pro       dnsmos_pro of each second: DNSMOS Pro (the weights "nisqa"), every 2nd family

Of a kind that PESQ is wrong about (damages.BLIND_KINDS) each of them hears every family.

dnsmos, plcmos, pro (MIT) and cs22 (Apache-2.0) are files in the folder given with --models. dnsmos, cs22 and pro depend
on the level; they hear clips at ACTIVE_LEVEL_DBOV, because `labels.level_penalty` says what a level costs.

NaN stands for "not asked" and for "no answer". No labeler here, and nothing that ships, hears NISQA.
"""

from __future__ import annotations

from collections import defaultdict
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
from livemos.agent.records import SAMPLE_RATE_HZ, Samples
from livemos.training.clips import ACTIVE_LEVEL_DBOV, CLIP_SAMPLES, CLIP_SECONDS
from livemos.training.damages import BLIND_KINDS, DAMAGES
from livemos.training.levels import gain
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
    for k, clip in _asked("distill", clips):
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
    for k, clip in _asked("dnsmos", clips):
        rows[:, k] = dnsmos(_session(_model_folder("dnsmos", models) / LABELERS["dnsmos"].models[0]), _levelled(clip))
    return dict(zip(LABELERS["dnsmos"].columns, rows, strict=True))


def _plcmos(clips: list[SimulatedClip], models: Path | None) -> Scores:
    scores = np.full(len(clips), np.nan, np.float32)
    for k, clip in _asked("plcmos", clips):
        scores[k] = plcmos(_session(_model_folder("plcmos", models) / LABELERS["plcmos"].models[0]), clip.samples)
    return {"plcmos_mos": scores}


def _levelled(clip: SimulatedClip) -> Samples:
    """The clip at a comfortable level."""
    return np.asarray(clip.samples * gain(ACTIVE_LEVEL_DBOV - clip.level_dbov), np.float32)


def _by_second(clip: SimulatedClip) -> npt.NDArray[np.float32]:
    """(seconds, samples) at a comfortable level."""
    return _levelled(clip).reshape(-1, SAMPLE_RATE_HZ)


@lru_cache(maxsize=1)
def _conferencing_speech(models: Path) -> tuple[Any, Any]:
    import torch

    from livemos.training.teachers.conferencing_speech import load_conferencing_speech

    torch.set_num_threads(1)
    first, second = LABELERS["cs22"].models
    return load_conferencing_speech(models / first, 1), load_conferencing_speech(models / second, 2)


@lru_cache(maxsize=1)
def _dnsmos_pro(models: Path) -> Any:
    import torch

    from livemos.training.teachers.dnsmos_pro import load_dnsmos_pro

    torch.set_num_threads(1)
    return load_dnsmos_pro(models / LABELERS["pro"].models[0])


def _cs22(clips: list[SimulatedClip], models: Path | None) -> Scores:
    networks = _conferencing_speech(_model_folder("cs22", models))
    scores = np.full((2, len(clips), CLIP_SECONDS), np.nan, np.float32)
    for k, clip in _asked("cs22", clips):
        for row, network in enumerate(networks):
            scores[row, k] = network.score(_by_second(clip), SAMPLE_RATE_HZ)
    return dict(zip(LABELERS["cs22"].columns, scores, strict=True))


def _pro(clips: list[SimulatedClip], models: Path | None) -> Scores:
    network = _dnsmos_pro(_model_folder("pro", models))
    scores = np.full((len(clips), CLIP_SECONDS), np.nan, np.float32)
    for k, clip in _asked("pro", clips):
        scores[k] = network.score(_by_second(clip))
    return {"dnsmos_pro": scores}


def hears(name: str, family: int, kinds: Iterable[str]) -> bool:
    """Whether labeler `name` hears a family with these kinds of damage."""
    return family % LABELERS[name].every == 0 or not BLIND_KINDS.isdisjoint(kinds)


def _asked(name: str, clips: list[SimulatedClip]) -> list[tuple[int, SimulatedClip]]:
    """The clips with speech of the families that labeler `name` hears, and their places in `clips`, whole families."""
    kinds: dict[int, set[str]] = defaultdict(set)
    for clip in clips:
        kinds[clip.family] |= {kind for kind, _ in clip.damages}
    heard = {family for family in kinds if hears(name, family, kinds[family])}
    return [(k, clip) for k, clip in enumerate(clips) if clip.reference is not None and clip.family in heard]


def _model_folder(name: str, models: Path | None) -> Path:
    needed = LABELERS[name].models
    if models is None or not all((models / file).exists() for file in needed):
        raise ConfigError(f"the labeler {name} needs {' and '.join(needed)}; give its folder with --models")
    return models


@dataclass(frozen=True, slots=True, kw_only=True)
class Labeler:
    """columns: what it writes. every: it hears families whose number this divides (`hears`). package: what it needs.

    models: files it needs in the folder given with --models. by_second: a column holds one value a second of a clip.
    """

    score: Callable[[list[SimulatedClip], Path | None], Scores]
    columns: tuple[str, ...]
    package: str
    every: int = 1
    models: tuple[str, ...] = ()
    by_second: bool = False

    def unasked(self, rows: int) -> npt.NDArray[np.float32]:
        """A column in which nobody was asked."""
        return np.full((rows, CLIP_SECONDS) if self.by_second else rows, np.nan, np.float32)


LABELERS: dict[str, Labeler] = {
    "pesq": Labeler(score=_pesq, columns=("pesq_wb", "pesq_first_half", "pesq_second_half"), package="pesq"),
    "distill": Labeler(score=_distill, columns=("distill_mos",), package="distillmos", every=16),
    "dnsmos": Labeler(
        score=_dnsmos,
        columns=("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl"),
        package="onnxruntime",
        every=4,
        models=("dnsmos_p835.onnx",),
    ),
    "plcmos": Labeler(
        score=_plcmos, columns=("plcmos_mos",), package="onnxruntime", every=16, models=("plcmos_v2.onnx",)
    ),
    "cs22": Labeler(
        score=_cs22,
        columns=("cs22_b1", "cs22_b2"),
        package="torch",
        every=2,
        models=("cs22_baseline1.pt", "cs22_baseline2.pt"),
        by_second=True,
    ),
    "pro": Labeler(
        score=_pro, columns=("dnsmos_pro",), package="torch", every=2, models=("dnsmospro_nisqa.pt",), by_second=True
    ),
}


def check(names: Iterable[str], models: Path | None) -> None:
    """Raises ConfigError for a labeler that is unknown, or whose package or model file is not there."""
    for name in names:
        if name not in LABELERS:
            raise ConfigError(f'no labeler is called "{name}"; choose from {", ".join(LABELERS)}')
        package = LABELERS[name].package
        if find_spec(package) is None:
            raise ConfigError(f"the labeler {name} needs {package}: pip install {package}")
        if LABELERS[name].models:
            _model_folder(name, models)


def label(name: str, clips: list[SimulatedClip], models: Path | None) -> Scores:
    """What labeler `name` says: each of its columns, (C,), or (C, seconds)."""
    return LABELERS[name].score(clips, models)

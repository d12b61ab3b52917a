"""How a model does on simulated clips of unseen voices and noises, and how its presence output separates."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from livemos.agent.doubt import effective_seconds
from livemos.training.batches import Windows
from livemos.training.causes import causes_of, of_windows
from livemos.training.evaluation.simulation.heldout import Truth, pool, pooled_std, pooling_weights
from livemos.training.evaluation.statistics import Float
from livemos.training.models.base import CAUSE_OUTPUTS, FIRST_CAUSE, OUTPUTS, SpeechQualityNet
from livemos.training.objectives import weighted_mean
from livemos.training.simulator import FAMILY_CLIPS, WINDOWS

_REFUSED_SPEECH_RATIO = 0.0075
_LEAST_SHARE = 1e-3  # of a cause
_ROUNDING = 1e-5  # of scores from 1 to 5
_SPEECH_RATIO, _SILENT_RATIO = 0.4, 0.02  # windows that are surely speech, surely none


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Figures of one model on one table. Pearson and RMSE of clip scores against their labels."""

    clips: int
    pearson: float
    rmse: float
    clean_clips: int
    clean_bias: float
    families_in_order_ratio: float  # neighbours whose labels differ by over 0.2 and whose scores agree in sign
    dimension_pearson: dict[str, float]
    std_rmse_ratio: float  # RMS error of a window over RMS of mos_std: 1 is honest
    minimum_speech_ratio: float  # see presence_threshold
    silence_passed_ratio: float  # windows without speech that are at or above it
    cause_macro_f1: float  # of clips, by the largest mean probability over their windows

    def as_facts(self) -> dict[str, Any]:
        """Rounded, for logs and the model card."""
        facts: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if isinstance(value, dict):
                facts[name] = {key: round(each, 4) for key, each in value.items()}
            else:
                facts[name] = round(value, 4)
        return facts


@torch.no_grad()
def outputs_of(model: SpeechQualityNet, windows: Windows) -> npt.NDArray[np.float32]:
    """(C, W, K) of every clip of the table as it is."""
    clips = np.arange(len(windows.table.features))
    parts = [model(windows.whole_clips(some).features) for some in np.array_split(clips, max(1, len(clips) // 32))]
    return np.asarray(torch.cat(parts).numpy().reshape(len(clips), WINDOWS, len(OUTPUTS)))


_NORMAL_90 = 1.6449  # 90 % of a normal distribution lie within so many deviations
# of clips, inside the 90 % interval: labels are not listeners, who are further off, so a clip's doubt errs on its side
_CLIPS_INSIDE = 0.94


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """What is known of mos_std when it has its scale: shares inside the 90 % interval over families no fit has seen."""

    inside_90: float  # of windows
    clips_inside_90: float
    error_correlation: float  # agent/doubt.py


def calibrate_doubt(model: SpeechQualityNet, windows: Windows) -> Doubt:
    """Scale `mos_std` by windows, then fit how far errors of one clip go together, both over every second family.

    Windows until 90 % of the errors lie inside the 90 % interval, clips until 94 % do (listeners are further off than
    labels). Without clips to fit on all stays as it is.
    """
    outputs = outputs_of(model, windows).astype(np.float64)
    truth = Truth.of(windows.table.columns)
    mos, std, speech = (outputs[..., OUTPUTS.index(name)] for name in ("mos", "mos_std", "speech_ratio"))
    even = np.asarray(windows.table.columns["family"], np.int64) % 2 == 0
    used, error = truth.weight > 0, np.abs(mos - truth.windows["mos"])
    fitted, others = used & even[:, None], used & ~even[:, None]
    if not fitted.any() or not others.any():
        return Doubt(inside_90=float("nan"), clips_inside_90=float("nan"), error_correlation=1.0)
    scale = float(np.quantile((error / std)[fitted], 0.9)) / _NORMAL_90
    model.spread_scale.mul_(scale)
    std *= scale
    threshold, _ = presence_threshold(speech, truth.windows["speech_ratio"])
    weight = pooling_weights(speech, speech >= threshold)
    clip_error = np.abs(pool(mos, weight) - truth.mos)
    known = np.isfinite(clip_error)
    fit = known & even
    correlation = fit_error_correlation(clip_error[fit], std[fit], weight[fit], _CLIPS_INSIDE)
    inside = clip_error <= _NORMAL_90 * pooled_std(std, weight, correlation)
    return Doubt(
        inside_90=float((error / std <= _NORMAL_90)[others].mean()),
        clips_inside_90=float(inside[known & ~even].mean()) if (known & ~even).any() else float("nan"),
        error_correlation=correlation,
    )


@torch.no_grad()
def balance_causes(model: SpeechQualityNet, windows: Windows) -> None:
    """Take the log of each cause's share of the training windows off its logit, for good.

    A rare cause is named where it is likely for how rare it is; without this it is never the likeliest (logit
    adjustment, Menon et al. 2021, eq. 9 with tau 1).
    """
    targets = windows.targets
    clips, every = np.arange(len(targets.mos)), np.arange(targets.window_weight.shape[1])
    cause = of_windows(targets, clips, np.tile(every, (len(clips), 1)), targets.level_dbov.astype(np.float64))
    shares = np.bincount(cause.ravel(), targets.window_weight.ravel(), len(CAUSE_OUTPUTS))
    shares = np.maximum(shares / max(float(shares.sum()), 1e-9), _LEAST_SHARE)
    last = model.head[-1]
    assert isinstance(last, torch.nn.Linear)
    last.bias[-len(CAUSE_OUTPUTS) :] -= torch.from_numpy(np.log(shares)).to(last.bias.dtype)


def fit_error_correlation(error: Float, std: Float, weight: Float, share: float = 0.9) -> float:
    """Of clips' errors (C,), windows' std and weights (C, W): the least with which `share` of the clips lie inside
    their 90 % interval; 1 without a clip.

    Solved for each clip alone: the correlation at which its error lies on the edge.
    """
    if not len(error):
        return 1.0
    seconds = effective_seconds(weight.sum(axis=1), (weight**2).sum(axis=1))
    edge = (error / (_NORMAL_90 * pooled_std(std, weight, 1.0))) ** 2
    needed = (edge * seconds - 1.0) / np.maximum(seconds - 1.0, 1e-9)  # one second says nothing: far outside 0 to 1
    return float(np.clip(np.quantile(needed, share), 0.0, 1.0))


def pearson(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float:
    """Correlation; NaN where one of them does not vary by more than rounding."""
    if len(a) < 2 or min(float(np.ptp(a)), float(np.ptp(b))) < _ROUNDING:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def judge(model: SpeechQualityNet, windows: Windows) -> Judgement:
    """The model against the labels of the table."""
    outputs = outputs_of(model, windows)
    clips = np.arange(len(outputs))
    targets = windows.whole_clips(clips).targets
    column = {name: outputs[..., k] for k, name in enumerate(OUTPUTS)}
    weight = targets.weight.numpy()
    heard = weight.sum(axis=1) > 0
    said = weighted_mean(torch.from_numpy(column["mos"]), targets.weight).numpy()
    wanted = weighted_mean(targets.mos, targets.weight).numpy()
    damages = windows.table.columns["damages"]
    clean = heard & (damages == "[]") & (wanted > 4.2)
    used = weight > 0
    error = (column["mos"] - targets.mos.numpy())[used]
    threshold, silence_passed = presence_threshold(column["speech_ratio"], targets.speech_ratio.numpy())
    return Judgement(
        clips=int(heard.sum()),
        pearson=pearson(said[heard], wanted[heard]),
        rmse=float(np.sqrt(np.mean((said - wanted)[heard] ** 2))),
        clean_clips=int(clean.sum()),
        clean_bias=float((said - wanted)[clean].mean()) if clean.any() else float("nan"),
        families_in_order_ratio=_in_order(said, wanted, heard),
        dimension_pearson={
            name: pearson(column[name][used], getattr(targets, name).numpy()[used])
            for name in ("noisiness", "coloration", "discontinuity", "loudness")
        },
        std_rmse_ratio=float(np.sqrt(np.mean(error**2) / np.mean(column["mos_std"][used] ** 2))),
        minimum_speech_ratio=threshold,
        silence_passed_ratio=silence_passed,
        cause_macro_f1=macro_f1(
            weighted_mean_of(outputs[..., FIRST_CAUSE:], weight)[heard].argmax(axis=1),
            causes_of(windows.targets).cause[heard],
        ),
    )


def weighted_mean_of(values: npt.NDArray[Any], weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(C, W, K), (C, W) -> (C, K)."""
    total = np.maximum(weight.sum(axis=1), 1e-6)
    return np.asarray((values * weight[..., None]).sum(axis=1) / total[:, None])


def macro_f1(said: npt.NDArray[Any], true: npt.NDArray[Any]) -> float:
    """Mean F1 over the classes that occur in `true`."""
    scores = []
    for each in np.unique(true):
        hits = ((said == each) & (true == each)).sum()
        scores.append(2.0 * hits / max((said == each).sum() + (true == each).sum(), 1))
    return float(np.mean(scores)) if scores else float("nan")


def _in_order(said: npt.NDArray[Any], wanted: npt.NDArray[Any], heard: npt.NDArray[np.bool_]) -> float:
    whole = heard.reshape(-1, FAMILY_CLIPS).all(axis=1)
    steps_said = np.diff(said.reshape(-1, FAMILY_CLIPS)[whole], axis=1)
    steps_wanted = np.diff(wanted.reshape(-1, FAMILY_CLIPS)[whole], axis=1)
    clear = np.abs(steps_wanted) > 0.2
    return float((np.sign(steps_said) == np.sign(steps_wanted))[clear].mean()) if clear.any() else float("nan")


def presence_threshold(said: npt.NDArray[Any], truth: npt.NDArray[Any]) -> tuple[float, float]:
    """The speech ratio below which a window is taken as no speech, and the share of silent windows that still pass it.

    The highest, up to 0.5, that refuses at most 0.75 % of the windows that surely hold speech: a call that goes
    unscored in its noisiest minute is worse than a score for a second of noise.
    """
    speech, silence = said[truth >= _SPEECH_RATIO], said[truth <= _SILENT_RATIO]
    if not speech.size or not silence.size:
        return 0.2, float("nan")
    threshold = min(0.5, float(np.floor(100.0 * np.quantile(speech, _REFUSED_SPEECH_RATIO))) / 100.0)
    return threshold, float((silence >= threshold).mean())

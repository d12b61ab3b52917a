"""One label out of several teachers, each where it is right.

PESQ-WB knows the reference; additive noise and MNRU are what P.862 was validated for, and it is unfair to suppressors,
rooms and codecs that change the waveform. The reference-free teachers (Distill-MOS, the CS22 baselines, DNSMOS Pro)
hear as listeners do, and miss short losses. Each teacher is brought to PESQ's scale by mean and deviation over the
clips it heard, the teachers are averaged, the average is brought to the same deviation again, and PESQ counts by kind
of damage (PESQ_TRUST; a judgement, written once. The shares of noise, MNRU and undamaged speech were raised after the
third model had been seen beside listeners: docs/evaluation.md).

A teacher that was not asked about a clip is replaced by a ridge regression on PESQ and the simulator's truth, so that
a table in which every second family was heard has one scale.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from livemos.training.damages import DAMAGES
from livemos.training.effects import Array, Columns

Mask = npt.NDArray[np.bool_]

CLIP_TEACHERS = ("distill_mos",)
SECOND_TEACHERS = ("cs22_b1", "cs22_b2", "dnsmos_pro")
# the share of PESQ in the label of a clip with this damage; the rest is the teachers'
PESQ_TRUST: dict[str, float] = {
    "loss": 0.8, "noise_filled_loss": 0.8, "mutes": 0.8, "gaps": 0.9, "front_clipping": 0.9, "cut_out": 0.8,
    "slips": 0.8, "robotic": 0.5, "wrong_rate": 0.5, "time_scaling": 0.4, "opus": 0.6, "mnru": 0.7, "noise": 0.6,
    "made_up_noise": 0.6, "babble": 0.5, "hum": 0.4, "clipping": 0.4, "suppression": 0.2, "hard_suppression": 0.4,
    "comfort_noise": 0.3, "suppressor": 0.3, "reverberation": 0.3, "room": 0.3, "corridor": 0.3,
    "vocoder": 0.15, "pulse_vocoder": 0.15, "holes": 0.4, "codec2": 0.2,
}  # fmt: skip
_TRUST_ELSEWHERE = 0.5
# an undamaged recording is what PESQ compares with; teachers mark down a voice or a microphone that they do not know
_TRUST_UNDAMAGED = 0.8
LEAST_ASKED = 40  # clips; a teacher that heard fewer has no scale
_RIDGE = 3.0
_PAUSE_WEIGHT = 0.2  # of a second without speech, beside 1 of one full of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What the teachers say, on PESQ's scale. clip: (C,); window: (C, W), how far a window lies from its clip, or 0.

    asked: (C,) True where at least one teacher really heard the clip.
    """

    clip: Array
    window: Array
    asked: Mask


def pesq_trust(columns: Columns) -> Array:
    """(C,) the share of PESQ in each label: the mean over a clip's damages, by severity."""
    trust = np.full(len(columns["damages"]), _TRUST_UNDAMAGED)
    for clip, (damages, severities) in enumerate(_damages(columns)):
        weights = [max(severity, 0.05) for severity in severities]
        if damages:
            trust[clip] = np.average([PESQ_TRUST.get(kind, _TRUST_ELSEWHERE) for kind in damages], weights=weights)
    return trust


def ask(columns: Columns, pesq_mos: Array, basis: Mask | None = None) -> Opinion | None:
    """The teachers' opinion of a table whose PESQ labels are `pesq_mos`, (C,); None where too few clips were heard.

    basis: (C,) the clips that scales are taken from; None for all.
    """
    speech = np.asarray(columns["speech_ratio"], np.float64)
    labelled = np.isfinite(pesq_mos)
    scale = labelled if basis is None else labelled & basis
    heard: list[Array] = [np.asarray(columns[name], np.float64) for name in CLIP_TEACHERS if name in columns]
    windows = np.zeros_like(speech)
    seconds = [np.asarray(columns[name], np.float64) for name in SECOND_TEACHERS if name in columns]
    weight = _PAUSE_WEIGHT + (1.0 - _PAUSE_WEIGHT) * speech[:, ::2]
    heard += [(values * weight).sum(axis=1) / weight.sum(axis=1) for values in seconds]
    usable = [k for k, each in enumerate(heard) if (scale & np.isfinite(each)).sum() >= LEAST_ASKED]
    if not usable:
        return None
    truth = truth_of(columns, pesq_mos)
    scaled, slopes = [], {}
    for k in usable:
        asked = scale & np.isfinite(heard[k])
        slopes[k] = pesq_mos[asked].std() / heard[k][asked].std()
        values = pesq_mos[asked].mean() + slopes[k] * (heard[k] - heard[k][asked].mean())
        scaled.append(completed(values, asked, labelled, truth))
    mean = np.mean(scaled, axis=0)
    stretch = pesq_mos[scale].std() / mean[scale].std()
    by_second = [k for k in usable if k >= len(heard) - len(seconds)]
    for k in by_second:
        values = seconds[k - (len(heard) - len(seconds))]
        apart = np.nan_to_num(slopes[k] * stretch * (values - heard[k][:, None]))
        # a window every half second: between two seconds lies their mean
        windows[:, ::2] += apart / len(by_second)
        windows[:, 1::2] += 0.5 * (apart[:, :-1] + apart[:, 1:]) / len(by_second)
    return Opinion(
        clip=pesq_mos[scale].mean() + stretch * (mean - mean[scale].mean()),
        window=windows,
        asked=np.any([np.isfinite(heard[k]) for k in usable], axis=0),
    )


def restored(pesq_mos: Array, blended: Array, clean: Mask, basis: Mask | None = None) -> tuple[Array, float]:
    """`blended` (C,) with the deviation of `pesq_mos` and the same mean over `clean` clips; and the factor it took.

    basis: as in `ask`.

    Averaging voices that disagree narrows the scale; what is best and what is worst shall stay where they were.
    """
    labelled = np.isfinite(blended) if basis is None else np.isfinite(blended) & basis
    factor = float(pesq_mos[labelled].std() / max(float(blended[labelled].std()), 1e-6))
    anchor = labelled & clean if (labelled & clean).any() else labelled
    mos = pesq_mos[anchor].mean() + factor * (blended - blended[anchor].mean())
    return np.asarray(np.clip(mos, 1.0, 5.0)), factor


def completed(values: Array, asked: Mask, wanted: Mask, truth: Array) -> Array:
    """`values` with a ridge regression on `truth` where a teacher has not answered; NaN outside `wanted`.

    asked: the clips that the regression is made from.
    """
    centre = values[asked].mean()
    seen = truth[asked]
    weights = np.linalg.solve(seen.T @ seen + _RIDGE * np.eye(seen.shape[1]), seen.T @ (values[asked] - centre))
    filled = np.where(np.isfinite(values), values, centre + truth @ weights)
    return np.where(wanted, filled, np.nan)


def truth_of(columns: Columns, pesq_mos: Array) -> Array:
    """(C, N) what a teacher's answer is guessed from."""
    speech = np.asarray(columns["speech_ratio"], np.float64) + 1e-3

    def in_speech(name: str) -> Array:
        return np.asarray(np.average(np.nan_to_num(np.asarray(columns[name], np.float64)), axis=1, weights=speech))

    pesq = np.nan_to_num(pesq_mos, nan=3.0) - 3.0
    noise = np.clip(in_speech("noise_db") + 25.0, -20.0, 30.0) / 10.0
    numbers = [np.ones(len(pesq)), pesq, pesq**2, noise, noise**2, 4.0 * in_speech("gap_ratio")]
    numbers.append(4.0 * in_speech("clipped_ratio"))
    kinds = list(DAMAGES)
    there = np.zeros((len(pesq), len(kinds)))
    strong = np.zeros_like(there)
    for clip, (damages, severities) in enumerate(_damages(columns)):
        for kind, severity in zip(damages, severities, strict=True):
            there[clip, kinds.index(kind)] = 1.0
            strong[clip, kinds.index(kind)] = severity
    return np.concatenate([np.stack(numbers, axis=1), there, strong], axis=1)


def _damages(columns: Columns) -> list[tuple[list[str], list[float]]]:
    """Kinds and severities of each clip; sounds of clips without speech are left out."""
    pairs = zip(columns["damages"].tolist(), columns["severities"].tolist(), strict=True)
    found = []
    for damages, severities in pairs:
        each = zip(json.loads(str(damages)), json.loads(str(severities)), strict=True)
        known = [(kind, severity) for (kind, _), severity in each if kind in DAMAGES]
        found.append(([kind for kind, _ in known], [severity for _, severity in known]))
    return found

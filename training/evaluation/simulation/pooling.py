"""What one score of a clip could be made of: rules beside the product's speech-weighted mean, judged on held-out clips.

Nothing here ships. The question is whether a rule that leans on the worst seconds, or one that was fitted, follows the
clip's label better. Labels of whole clips come from methods that average over time much as a mean does, so they cannot
say all of what listeners would; a gain has to be large to count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import scipy.optimize

from livemos.training.damages import DAMAGES
from livemos.training.evaluation.figures import Row
from livemos.training.evaluation.scored import DIMENSIONS
from livemos.training.evaluation.simulation.grouped import FIGURES, Sums, figures_of
from livemos.training.evaluation.simulation.heldout import Heldout, pooling_weights
from livemos.training.evaluation.statistics import Float

Rule = Callable[[Float, Float, Float], Float]  # mos, speech weight, mos_std (C, W) -> (C,)
_ENDS = ("", "_low", "_high")
POOLING_COLUMNS = (
    *("rule", "clips_of", "clips", *(f"pearson{end}" for end in _ENDS), "rmse_after_line"),
    *(f"pearson_gain{end}" for end in _ENDS),
)
_PRODUCT = "speech-weighted mean"
FITTED = "attention, fitted on other families"
_FOLDS = 4
_RIDGE = 1e-3


def _mean(values: Float, weight: Float) -> Float:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((values * weight).sum(axis=1) / weight.sum(axis=1))


def _leaning(steepness: float) -> Rule:
    """The mean with weights that grow by e for each 1 / steepness MOS below the clip's mean."""

    def pool(mos: Float, weight: Float, std: Float) -> Float:
        below = _mean(mos, weight)[:, None] - mos
        return _mean(mos, weight * np.exp(steepness * below))

    return pool


def _worst(share: float) -> Rule:
    """The mean of the worst share of the windows that have a weight."""

    def pool(mos: Float, weight: Float, std: Float) -> Float:
        order = np.argsort(np.where(weight > 0, mos, np.inf), axis=1)
        sorted_weight = np.take_along_axis(weight, order, axis=1)
        kept = np.cumsum(sorted_weight, axis=1) - sorted_weight < share * weight.sum(axis=1, keepdims=True)
        return _mean(np.take_along_axis(mos, order, axis=1), sorted_weight * kept)

    return pool


def _late(mos: Float, weight: Float, std: Float) -> Float:
    """The last window counts twice the first."""
    return _mean(mos, np.asarray(weight * np.linspace(1.0, 2.0, mos.shape[1]), float))


RULES: dict[str, Rule] = {
    _PRODUCT: lambda mos, weight, std: _mean(mos, weight),
    "plain mean of scored windows": lambda mos, weight, std: _mean(mos, np.asarray(weight > 0, float)),
    "mean by certainty": lambda mos, weight, std: _mean(mos, np.asarray(weight / std**2, float)),
    "the latest counts double": _late,
    "leaning on the worst, gently": _leaning(0.5),
    "leaning on the worst": _leaning(1.0),
    "leaning on the worst, hard": _leaning(2.0),
    "worst half": _worst(0.5),
    "worst quarter": _worst(0.25),
    "minimum": lambda mos, weight, std: np.where(
        (weight > 0).any(axis=1), np.where(weight > 0, mos, np.inf).min(axis=1), np.nan
    ),
}


def pooling_rows(heldout: Heldout, resamples: int) -> Iterator[Row]:
    """Each rule over all clips and over those of local damage; pearson_gain: beside the product's, drawn together."""
    mos, std = heldout.outputs["mos"], heldout.outputs["mos_std"]
    weight = pooling_weights(heldout.outputs["speech_ratio"], heldout.passed)
    pooled = {name: rule(mos, weight, std) for name, rule in RULES.items()}
    pooled[FITTED] = fitted_attention(heldout, weight)
    known = np.isfinite(heldout.truth.mos) & np.isfinite(pooled[_PRODUCT])
    local = np.array([bool(kind) and DAMAGES[kind].local for kind in heldout.ladder])
    for clips_of, inside in (("all ladders", known), ("local damage", known & local), ("others", known & ~local)):
        labels, families = heldout.truth.mos[inside], heldout.families[inside]
        product = Sums.of(pooled[_PRODUCT][inside], labels, families).by_family
        for name, scores in pooled.items():
            sums = Sums.of(scores[inside], labels, families)
            row: Row = {"rule": name, "clips_of": clips_of, "clips": int(inside.sum())}
            row |= sums.row(resamples, ("pearson",))
            if row.get("pearson") is not None:
                spread = float(np.std(labels))
                row["rmse_after_line"] = spread * float(np.sqrt(max(0.0, 1 - float(str(row["pearson"])) ** 2)))
            row |= figures_of(np.concatenate([sums.by_family, product], axis=1), {"pearson_gain": _gain}, resamples)
            yield row


def _gain(both: Float) -> Float:
    own, product = np.split(both, 2, axis=-1)
    return np.asarray(FIGURES["pearson"](own) - FIGURES["pearson"](product))


def fitted_attention(heldout: Heldout, weight: Float) -> Float:
    """(C,) a weighted mean whose log weights are linear in what the bundle says of each window.

    Window minus clip mean of MOS, dimensions and mos_std, the speech share and the place in the clip; fitted to the
    labels of three quarters of the families, answering for the fourth.
    """
    mos = heldout.outputs["mos"]
    centred = [
        heldout.outputs[name] - _mean(heldout.outputs[name], weight)[:, None] for name in (*DIMENSIONS, "mos_std")
    ]
    place = np.broadcast_to(np.linspace(-0.5, 0.5, mos.shape[1]), mos.shape)
    inputs = np.nan_to_num(np.stack([*centred, heldout.outputs["speech_ratio"], place], axis=-1))
    known = np.isfinite(heldout.truth.mos) & (weight > 0).any(axis=1)
    fold = heldout.families % _FOLDS
    answers = np.full(len(mos), np.nan)
    for left_out in range(_FOLDS):
        seen = known & (fold != left_out)
        if not seen.any():
            continue
        slopes = _fit(inputs[seen], mos[seen], weight[seen], heldout.truth.mos[seen])
        asked = known & (fold == left_out)
        answers[asked] = _attend(inputs[asked], mos[asked], weight[asked], slopes)
    return answers


def _attend(inputs: Float, mos: Float, weight: Float, slopes: Float) -> Float:
    logits = np.where(weight > 0, inputs @ slopes + np.log(np.maximum(weight, 1e-9)), -np.inf)
    return _mean(mos, np.exp(logits - logits.max(axis=1, keepdims=True)))


def _fit(inputs: Float, mos: Float, weight: Float, labels: Float) -> Float:
    def loss(parameters: Float) -> float:
        slopes, offset, scale = parameters[:-2], parameters[-2], parameters[-1]
        error = offset + scale * _attend(inputs, mos, weight, slopes) - labels
        return float(np.mean(error**2) + _RIDGE * np.sum(slopes**2))

    start = np.concatenate([np.zeros(inputs.shape[-1]), [0.0, 1.0]])
    best = scipy.optimize.minimize(loss, start, method="L-BFGS-B", options={"maxiter": 60})
    return np.asarray(best.x[:-2])

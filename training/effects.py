"""What each cause took off a clip's score, known by the family's design.

The label of a member against member 0 is the effect of the rising kind; what member 0 lacks of a clean clip is the
effect of the base condition. Where a base holds two kinds, or a codec stays at rest, that loss is shared out in
proportion to what each kind costs at its severity on otherwise clean speech, an average over the same table. A clip
that its output level drove into overload is clipped, whatever its family was made for.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from livemos.training.damages import CAUSES, DAMAGES

Array = npt.NDArray[np.float64]
Columns = dict[str, npt.NDArray[np.generic]]

_SEVERITY_STEPS = 5
_UNKNOWN_COST = 0.5  # MOS at full severity, for a kind the table has not seen alone
_LOSSLESS_CAUSE = "codec"  # of lost packets when none is lost
_LEAST_OVERLOAD_RATIO = 1e-3  # of samples at full scale


@dataclass(frozen=True, slots=True)
class _Part:
    """One damage of one clip."""

    kind: str
    severity: float
    cause: str


def effects_on(mos: Array, columns: Columns, clean_mos: float) -> Array:
    """(C, 8) MOS that each of CAUSES took off, from scores (C,) at a comfortable level, whole families in order."""
    effects = np.zeros((len(mos), len(CAUSES)))
    parts = [_parts(str(damages), str(severities)) for damages, severities in _pairs(columns)]
    member = np.asarray(columns["member"], np.int64)
    ladder = [str(kind) for kind in columns["ladder"]]
    costs = _costs(mos, member, ladder, np.asarray(columns["severity"], np.float64), parts)
    overload = _overload_cost(columns, parts)
    for clip in range(len(mos)):
        base = clip - int(member[clip])
        lost = max(0.0, float(mos[base] - mos[clip])) if member[clip] else 0.0
        if lost:
            louder = min(lost, max(0.0, float(overload[clip] - overload[base])))
            effects[clip, CAUSES.index("clipping")] += louder
            effects[clip, CAUSES.index(DAMAGES[ladder[clip]].cause)] += lost - louder
        # the base is that of member 0, with what the rising kind leaves at rest
        shares = [(part.cause, _cost(costs, part)) for part in parts[base]]
        shares += [("clipping", float(overload[base]))] if overload[base] else []
        remaining = max(0.0, clean_mos - float(mos[base]))
        for cause, share in shares:
            effects[clip, CAUSES.index(cause)] += remaining * share / max(sum(each for _, each in shares), 1e-9)
    return np.nan_to_num(effects)


def _overload_cost(columns: Columns, parts: list[list[_Part]]) -> Array:
    """(C,) MOS that the output level took off where nothing else clips: what clipping of that share costs."""
    speech = np.asarray(columns["speech_ratio"], np.float64) + 1e-6
    ratio = np.average(np.asarray(columns["clipped_ratio"], np.float64), axis=1, weights=speech)
    by_level = np.array([all(part.cause != "clipping" for part in each) for each in parts])
    return np.where(by_level & (ratio >= _LEAST_OVERLOAD_RATIO), 0.15 + 3.5 * np.sqrt(ratio), 0.0)


def _pairs(columns: Columns) -> Sequence[tuple[Any, Any]]:
    return list(zip(columns["damages"].tolist(), columns["severities"].tolist(), strict=True))


def _parts(damages: str, severities: str) -> list[_Part]:
    parts = []
    for (kind, parameters), severity in zip(json.loads(damages), json.loads(severities), strict=True):
        if kind not in DAMAGES:
            continue  # sounds of clips without speech
        lossless = kind == "loss" and parameters["lost_ratio"] == 0.0
        parts.append(_Part(kind, 0.0 if lossless else severity, _LOSSLESS_CAUSE if lossless else DAMAGES[kind].cause))
    return parts


def _costs(
    mos: Array, member: npt.NDArray[np.int64], ladder: list[str], severity: Array, parts: list[list[_Part]]
) -> dict[tuple[str, int], float]:
    """Mean MOS lost by (kind, severity step) in families whose base is undamaged."""
    lost: dict[tuple[str, int], list[float]] = defaultdict(list)
    for clip in np.flatnonzero((member > 0) & np.isfinite(mos)).tolist():
        base = clip - int(member[clip])
        if len(parts[base]) <= (1 if ladder[clip] == "loss" else 0) and np.isfinite(mos[base]):
            lost[ladder[clip], _step(severity[clip])].append(float(mos[base] - mos[clip]))
    return {key: max(0.02, float(np.mean(values))) for key, values in lost.items()}


def _step(severity: float) -> int:
    return min(_SEVERITY_STEPS - 1, int(severity * _SEVERITY_STEPS))


def _cost(costs: dict[tuple[str, int], float], part: _Part) -> float:
    return costs.get((part.kind, _step(part.severity)), _UNKNOWN_COST * max(part.severity, 0.2))

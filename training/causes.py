"""Which damage explains a clip's score, and the evidence for it: truth for the cause output, from a label table.

What a damage cost is known by the family's design: the label of a member against member 0 is the effect of the rising
kind, what member 0 lacks of a clean clip is the effect of the base condition. Where a base holds two kinds, or a codec
stays at rest, that loss is shared out in proportion to what each kind costs at its severity on otherwise clean speech,
an average over the same table. Level costs what `labels.level_penalty` says.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from livemos.agent.features import LogMel
from livemos.training import labels
from livemos.training.damages import CAUSES, DAMAGES

Array = npt.NDArray[np.float64]
Columns = dict[str, npt.NDArray[np.generic]]

NO_CAUSE = len(CAUSES)  # nothing lowers the score by LEAST_EFFECT
LEAST_EFFECT = 0.3  # MOS
_SEVERITY_STEPS = 5
_UNKNOWN_COST = 0.5  # MOS at full severity, for a kind the table has not seen alone
_BAND_EDGE_DB = -15.0
_LOSSLESS_CAUSE = "codec"  # of lost packets when none is lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Causes:
    """effects: (C, 8) float32, MOS that each of CAUSES costs. cause: (C,), index of the largest, or NO_CAUSE.

    known: (C,), False without speech or label: the cause says nothing there.
    """

    effects: npt.NDArray[np.float32]
    cause: npt.NDArray[np.int64]
    known: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was really so, (C,) float32 each. snr_db: active speech to A-weighted noise. bandwidth_hz: upper edge."""

    snr_db: npt.NDArray[np.float32]
    concealed_ratio: npt.NDArray[np.float32]
    clipped_ratio: npt.NDArray[np.float32]
    bandwidth_hz: npt.NDArray[np.float32]
    level_dbov: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Part:
    """One damage of one clip."""

    kind: str
    severity: float
    cause: str


def find_causes(columns: Columns) -> Causes:
    """Causes of a table in whole families; needs the column `severities`, which the second data set has."""
    mos = labels.make_targets(columns).mos.astype(np.float64)
    clean = float(labels.mos_from_pesq(np.array(4.64)))
    parts = [_parts(str(damages), str(severities)) for damages, severities in _pairs(columns)]
    member = np.asarray(columns["member"], np.int64)
    ladder = [str(kind) for kind in columns["ladder"]]
    costs = _costs(mos, member, ladder, np.asarray(columns["severity"], np.float64), parts)
    effects = np.zeros((len(mos), len(CAUSES)))
    for clip in range(len(mos)):
        base = clip - int(member[clip])
        lost = max(0.0, float(mos[base] - mos[clip])) if member[clip] else 0.0
        if lost:
            effects[clip, CAUSES.index(DAMAGES[ladder[clip]].cause)] += lost
        # the base is that of member 0, with what the rising kind leaves at rest
        shares = np.array([_cost(costs, part) for part in parts[base]])
        remaining = max(0.0, clean - float(mos[base])) if parts[base] else 0.0
        for part, share in zip(parts[base], shares / max(float(shares.sum()), 1e-9), strict=True):
            effects[clip, CAUSES.index(part.cause)] += remaining * share
    level = np.asarray(columns["level_dbov"], np.float64)
    effects[:, CAUSES.index("level")] += labels.level_penalty(level)
    cause = np.where(effects.max(axis=1) >= LEAST_EFFECT, effects.argmax(axis=1), NO_CAUSE)
    return Causes(effects=np.nan_to_num(effects).astype(np.float32), cause=cause, known=np.isfinite(mos))


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


def find_evidence(columns: Columns, front_end: LogMel) -> Evidence:
    """What explains a score, from the truth of a table."""
    noise_power = 10 ** (np.asarray(columns["noise_db"], np.float64) / 10)
    speech = np.asarray(columns["speech_ratio"], np.float64) + 1e-6

    def in_speech(name: str) -> npt.NDArray[np.float32]:
        mean = np.average(np.asarray(columns[name], np.float64), axis=1, weights=speech)
        return np.asarray(mean, np.float32)

    response = np.asarray(columns["response_db"], np.float64)
    upper_hz = front_end.band_edges_hz[2:]
    passed = response - np.quantile(response, 0.75, axis=1, keepdims=True) > _BAND_EDGE_DB
    highest = len(upper_hz) - 1 - np.argmax(passed[:, ::-1], axis=1)
    source_hz = np.nan_to_num(np.asarray(columns["source_bandwidth_hz"], np.float64), nan=upper_hz[-1])
    return Evidence(
        snr_db=(-10 * np.log10(noise_power.mean(axis=1))).astype(np.float32),
        concealed_ratio=in_speech("lost_ratio"),
        clipped_ratio=in_speech("clipped_ratio"),
        bandwidth_hz=np.minimum(upper_hz[highest], source_hz).astype(np.float32),
        level_dbov=np.asarray(columns["level_dbov"], np.float32),
    )

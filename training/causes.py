"""Which damage explains a clip's score, and the evidence for it: truth for the cause output, from a label table.

`training.effects` says what each damage cost, `labels.level_penalty` what the level did; the largest is the cause.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from livemos.agent.features import LogMel
from livemos.training import labels
from livemos.training.damages import CAUSES
from livemos.training.effects import Array, Columns

NO_CAUSE = len(CAUSES)  # nothing lowers the score by LEAST_EFFECT
LEAST_EFFECT = 0.3  # MOS
_BAND_EDGE_DB = -15.0


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


def find_causes(columns: Columns) -> Causes:
    """Causes of a table in whole families."""
    return causes_of(labels.make_targets(columns))


def causes_of(targets: labels.Targets) -> Causes:
    """The same from targets."""
    effects = with_level(targets.effects, targets.level_dbov)
    return Causes(effects=effects.astype(np.float32), cause=largest(effects), known=np.isfinite(targets.mos))


def with_level(effects: npt.NDArray[np.floating], level_dbov: npt.NDArray[np.floating]) -> Array:
    """(C, 8) effects with what a level (C,) costs."""
    complete = effects.astype(np.float64)
    complete[:, CAUSES.index("level")] += labels.level_penalty(level_dbov.astype(np.float64))
    return complete


def of_windows(
    targets: labels.Targets, clips: npt.NDArray[np.intp], windows: npt.NDArray[np.intp], level_dbov: Array
) -> npt.NDArray[np.int64]:
    """(C, W) index of the cause of each window; clips: (C,), windows: (C, W), level_dbov: (C,) as it is heard.

    What lost speech cost is shared out as in the labels: in a window that it spared something else is the cause.
    """
    effects = np.repeat(with_level(targets.effects[clips], level_dbov)[:, None], windows.shape[1], axis=1)
    effects[..., CAUSES.index("loss")] *= targets.loss_share[clips[:, None], windows]
    return largest(effects)


def largest(effects: Array) -> npt.NDArray[np.int64]:
    """(..., 8) -> (...) index of the cause, NO_CAUSE where nothing takes off LEAST_EFFECT."""
    return np.where(effects.max(axis=-1) >= LEAST_EFFECT, effects.argmax(axis=-1), NO_CAUSE)


def find_evidence(columns: Columns, front_end: LogMel) -> Evidence:
    """What explains a score, from the truth of a table."""
    noise_power = 10 ** (labels.added_noise_db(columns) / 10)
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

"""Scores beside listeners' votes on sets that were never trained on."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from livemos.agent.errors import ConfigError
from livemos.agent.features import LogMel
from livemos.agent.records import SAMPLE_RATE_HZ
from livemos.training.evaluate import pearson
from livemos.training.probes import Score, segment_outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Pearson per clip and per condition, bias (model less listeners) and RMSE per clip; nothing is fitted."""

    clips: int
    conditions: int
    pearson_clip: float
    pearson_condition: float
    bias: float
    rmse: float

    def __str__(self) -> str:
        return (
            f"clips {self.clips}, conditions {self.conditions}: Pearson per clip {self.pearson_clip:.3f}, "
            f"per condition {self.pearson_condition:.3f}, bias {self.bias:+.2f}, RMSE {self.rmse:.2f}"
        )


def compare(rated: Path, score: Score) -> Comparison:
    """Plain mean over the 1 s segments of each clip in `rated`/ratings.csv against its mos. Raises ConfigError."""
    front_end = LogMel()
    try:
        with (rated / "ratings.csv").open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["mos"]]
    except FileNotFoundError as missing:
        raise ConfigError(f"{rated} has no ratings.csv; give a folder of rated clips with --rated") from missing
    said, heard = [], []
    by_condition: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        samples, rate_hz = soundfile.read(rated / row["file"], dtype="float32")
        if rate_hz != SAMPLE_RATE_HZ:
            samples = soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ)
        said.append(float(segment_outputs(samples, score, front_end)[:, 0].mean()))
        heard.append(float(row["mos"]))
        by_condition[row["condition"]].append(number)
    model, listeners = np.array(said), np.array(heard)
    per_condition = np.array([[model[some].mean(), listeners[some].mean()] for some in by_condition.values()])
    return Comparison(
        clips=len(rows),
        conditions=len(by_condition),
        pearson_clip=pearson(model, listeners),
        pearson_condition=pearson(per_condition[:, 0], per_condition[:, 1]),
        bias=float((model - listeners).mean()),
        rmse=float(np.sqrt(np.mean((model - listeners) ** 2))),
    )

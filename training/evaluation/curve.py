"""Accuracy beside cost: what a millisecond of a core buys. Read off results that were kept; measures nothing itself."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from livemos.agent.errors import ConfigError
from livemos.training.evaluation.canvas import BLUE, GREY, panels, plain, png
from livemos.training.evaluation.figures import Row

CURVE_COLUMNS = ("model", "kind", "cpu_ms", "pearson", "p835_wb16", "p835_fb48", "holub_ssqm")
SETS = CURVE_COLUMNS[4:]  # rated clip by clip, and no model here fails on one of them altogether
OWN_COLUMN = "mos_ungated"
# what the speed table calls a public model -> its column of scores of 1 s windows
PEERS = {
    "NISQA v2": "nisqa_mos_1s",
    "CS22 baseline 1": "cs22_b1_1s",
    "CS22 baseline 2": "cs22_b2_1s",
    "DNSMOS Pro": "dnsmospro_nisqa_1s",
    "DNSMOS P.835": "dnsmos_ovrl_1s",
    "PLCMOS v2": "plcmos_1s",
    "Distill-MOS": "distillmos",  # whole clips: on windows it was not asked for every set
}


def curve_rows(speed: Path, judged: Sequence[Path], batch: int) -> list[Row]:
    """A row for each model that was both timed and judged, the cheapest first; float32, and r per clip.

    speed: JSON lines of `livemos bench model`, of which the latest of a model counts. judged: folders of `livemos
    evaluate all`, each named after its bundle, NAME-VERSION. Raises ConfigError.
    """
    cpu_ms = {str(row["model"]): float(str(row["cpu_ms"])) for row in _timed(speed) if row["batch"] == batch}
    rows = [
        row
        for folder in judged
        for row in _judged(folder, {folder.name: OWN_COLUMN} | (PEERS if folder == judged[0] else {}), cpu_ms)
    ]
    if not rows:
        names = ", ".join(folder.name for folder in judged)
        raise ConfigError(f"{speed} times none of {names} at batch {batch}; run `livemos bench model` for them first")
    return sorted(rows, key=lambda row: float(str(row["cpu_ms"])))


def _timed(speed: Path) -> Iterator[Row]:
    try:
        lines = speed.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        yield from (row | {"model": _key(row)} for row in rows if row["precision"] == "fp32" and row["kind"] != "part")
    except (OSError, ValueError, KeyError) as unread:
        raise ConfigError(f"{speed}: no rows of `livemos bench model --results` ({unread!r})") from unread


def _key(row: Row) -> str:
    name = str(row["model"])
    return name.replace(" ", "-") if row["kind"] == "livemos" else name


def _judged(folder: Path, columns: dict[str, str], cpu_ms: dict[str, float]) -> Iterator[Row]:
    file = folder / "figures.csv"
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            clips = [row for row in csv.DictReader(lines) if (row["unit"], row["target"]) == ("clip", "mos")]
    except (OSError, KeyError) as unread:
        raise ConfigError(f"{file}: no figures of `livemos evaluate all` ({unread!r})") from unread
    # scores that do not vary correlate with nothing: such a row has no r
    told = [row for row in clips if row["set"] in SETS and row["pearson"] not in ("", "nan")]
    for model, column in columns.items():
        r = {row["set"]: float(row["pearson"]) for row in told if row["column"] == column}
        if model in cpu_ms and len(r) == len(SETS):
            kind = "livemos" if column == OWN_COLUMN else "peer"
            mean = float(np.mean(list(r.values())))
            yield {"model": model, "kind": kind, "cpu_ms": cpu_ms[model], "pearson": mean, **r}


def picture(rows: Iterable[Row], batch: int) -> bytes:
    """Mean r over the rated sets against milliseconds a segment, as PNG."""
    figure, (axes,) = panels(1, 6.4, 4.0, 1)
    for k, row in enumerate(rows):
        own = row["kind"] == "livemos"
        x, y = float(str(row["cpu_ms"])), float(str(row["pearson"]))
        axes.plot(x, y, "o", color=BLUE if own else GREY, markersize=7 if own else 5)
        axes.annotate(
            str(row["model"]), (x, y), xytext=(6, -11 if k % 2 else 4), textcoords="offset points", fontsize=8
        )
    axes.set_xscale("log")
    axes.margins(x=0.2, y=0.12)
    axes.set_xlabel(f"ms a segment of 1 s on one core, batch {batch}, audio to scores", fontsize=9)
    axes.set_ylabel("r with listeners, mean of three sets", fontsize=9)
    plain(axes)
    return png(figure)

"""The outcome of the probes as a table for people and as CSV."""

from __future__ import annotations

import csv
from pathlib import Path

from rich.console import Console
from rich.table import Table

from livemos.training.models.base import CAUSE_OUTPUTS, FIRST_CAUSE, OUTPUTS
from livemos.training.probes import ProbeResult

_SHOWN = OUTPUTS[:FIRST_CAUSE]


def show(result: ProbeResult, console: Console) -> None:
    """Print means, violated orders and presence."""
    means = Table("condition", *_SHOWN, "cause", "speech passed", title=f"mean of {result.clips} unseen clips")
    for name, outputs in result.means.items():
        right, every = result.speech_passed[name]
        cause = max(CAUSE_OUTPUTS, key=lambda output: outputs[output])
        numbers = (f"{outputs[output]:.2f}" for output in _SHOWN)
        means.add_row(name, *numbers, cause.removeprefix("cause_"), f"{right}/{every}")
    orders = Table("better", "worse", f"violations of {result.clips}")
    for (better, worse), count in result.violations.items():
        orders.add_row(better, worse, str(count))
    orders.add_row("all orders", "", f"{sum(result.violations.values())} of {len(result.violations) * result.clips}")
    refused = Table("no speech", "segments refused")
    for name, (right, every) in result.others_refused.items():
        refused.add_row(name, f"{right}/{every}")
    for table in (means, orders, refused):
        console.print(table)


def write_csv(result: ProbeResult, path: Path) -> None:
    """Rows of three kinds: mean, order, refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["kind", "name", "worse", *OUTPUTS, "right", "of"])
        for name, outputs in result.means.items():
            right, every = result.speech_passed[name]
            rows.writerow(["mean", name, "", *(f"{outputs[output]:.3f}" for output in OUTPUTS), right, every])
        for (better, worse), count in result.violations.items():
            rows.writerow(["order", better, worse, *[""] * len(OUTPUTS), result.clips - count, result.clips])
        for name, (right, every) in result.others_refused.items():
            rows.writerow(["refused", name, "", *[""] * len(OUTPUTS), right, every])

"""Achieved bandwidth over sizes, from the rows of a benchmark, as PNG."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_rows(results: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file that are timings of an operator."""
    lines = results.read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if "gigabytes_per_second" in row]


def plot_bandwidth(rows: list[dict[str, Any]], out: Path) -> None:
    """One panel an operator, one line a way and type. ValueError without rows."""
    if not rows:
        raise ValueError("there is no timing to plot")
    from matplotlib.figure import Figure

    operators = sorted({row["operator"] for row in rows})
    figure = Figure(figsize=(5.0 * len(operators), 4.0), layout="constrained")
    for axes, operator in zip(figure.subplots(1, len(operators), squeeze=False)[0], operators, strict=True):
        of_operator = [row for row in rows if row["operator"] == operator]
        for way, dtype in sorted({(row["way"], row["dtype"]) for row in of_operator}):
            line = sorted(
                (row["moved_bytes"] / 1e6, row["gigabytes_per_second"])
                for row in of_operator
                if (row["way"], row["dtype"]) == (way, dtype)
            )
            style = {"fused": "o-", "copy": ":"}.get(way, "x--")
            axes.plot(*zip(*line, strict=True), style, label=f"{way} {dtype}")
        axes.set_xscale("log")
        axes.set_xlabel("bytes moved, MB")
        axes.set_ylabel("GB/s")
        axes.set_title(f"{operator} on {of_operator[0]['gpu']}")
        axes.legend(fontsize=6)
    figure.savefig(out, dpi=120)

"""Pictures of a judgement on held-out simulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from livemos.training.damages import CAUSES, DAMAGES
from livemos.training.evaluation.canvas import BLUE, COLOURS, DPI, GREY, ORANGE, panels, plain, png
from livemos.training.evaluation.figures import Row
from livemos.training.evaluation.scored import DIMENSIONS
from livemos.training.evaluation.simulation.figures import doubt_of
from livemos.training.evaluation.simulation.heldout import CAUSE_NAMES, Heldout

_BINS = 8
_FIGURE_WIDTH = 8.4


def scatter(heldout: Heldout) -> bytes:
    """Score against label, one panel a cause of the ladder."""
    figure, all_axes = panels(len(CAUSES), 2.4, 2.4, 4)
    cause = np.array([DAMAGES[kind].cause if kind else "" for kind in heldout.ladder])
    for axes, name in zip(all_axes, CAUSES, strict=True):
        inside = cause == name
        axes.plot([1, 5], [1, 5], color="black", linewidth=0.7)
        axes.plot(heldout.truth.mos[inside], heldout.scores["mos"][inside], ".", color=BLUE, markersize=2.5, alpha=0.6)
        axes.set(xlim=(0.9, 5.1), ylim=(0.9, 5.1), xticks=range(1, 6), yticks=range(1, 6), aspect="equal")
        axes.set_title(name.replace("_", " "), fontsize=9)
        plain(axes)
    figure.supxlabel("label", fontsize=9)
    figure.supylabel("livemos", fontsize=9)
    return png(figure)


def ladders(clips: Sequence[Row], order: Sequence[Row]) -> bytes:
    """Pearson with its interval, and share of ladders in order, kind by kind."""
    chosen = [
        row
        for row in clips
        if row["column"] == "mos" and row["group"] in ("all", "unseen", "ladder") and row.get("pearson") is not None
    ]
    falling = {(row["group"], row["name"]): row for row in order}
    figure = Figure(figsize=(_FIGURE_WIDTH, 0.18 * len(chosen) + 1.0), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    labels = []
    for place, row in enumerate(reversed(chosen)):
        labels.append(f"{row['name']} ({row['clips']})")
        colour = ORANGE if row["group"] == "unseen" else BLUE
        _whisker(left, row, "pearson", place, colour)
        own = falling.get((row["group"], row["name"]))
        if own is not None:
            _whisker(right, own, "falling_ratio", place, colour)
            _whisker(right, own, "right_ratio", place, GREY)
    left.axvline(0.93, color="black", linewidth=0.7, linestyle=":")
    left.set_yticks(range(len(labels)), labels, fontsize=7)
    left.set_title("Pearson with the label (orange: unseen by training)", fontsize=9)
    right.set_title("ladders in order (grey: neighbours in order)", fontsize=9)
    left.set(xlim=(0, 1.02), ylim=(-0.7, len(labels) - 0.3))
    right.set(xlim=(0, 1.02))
    for axes in (left, right):
        plain(axes)
    left.tick_params(axis="y", labelsize=7)
    return png(figure)


def _whisker(axes: Axes, row: Row, name: str, place: int, colour: str) -> None:
    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return
    if low is not None and high is not None:
        axes.plot([float(str(low)), float(str(high))], [place, place], color=colour, linewidth=1.0, alpha=0.6)
    axes.plot([float(str(value))], [place], "o", color=colour, markersize=3.2)


def matrix(rows: Sequence[Row]) -> bytes:
    """How far each output falls for each cause: the model, and beside it the label."""
    figure = Figure(figsize=(_FIGURE_WIDTH, 3.3), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    by_place = {(row["dimension"], row["cause"]): row for row in rows}
    for axes, column, title in ((left, "fall", "livemos"), (right, "label_fall", "label")):
        values = np.array([[_number(by_place[d, c].get(column)) for c in CAUSES] for d in DIMENSIONS])
        axes.imshow(values, cmap="Blues", vmin=0.0, vmax=2.0, aspect="auto")
        for (y, x), value in np.ndenumerate(values):
            own = bool(by_place[DIMENSIONS[y], CAUSES[x]]["own"])
            axes.text(
                x,
                y,
                "" if np.isnan(value) else f"{value:.2f}",
                ha="center",
                va="center",
                fontsize=7.5,
                fontweight="bold" if own else "normal",
                color="white" if value > 1.2 else "black",
            )
        axes.set_xticks(range(len(CAUSES)), [name.replace("_", " ") for name in CAUSES], rotation=40, ha="right")
        axes.set_yticks(range(len(DIMENSIONS)), DIMENSIONS)
        axes.tick_params(labelsize=8)
        axes.set_title(f"mean fall, {title} (bold: own cause)", fontsize=9)
    return png(figure)


def _number(value: object) -> float:
    return float("nan") if value is None else float(str(value))


def reliability(heldout: Heldout, rows: Sequence[Row]) -> bytes:
    """Promised and kept shares; RMS error in eighths of rising mos_std."""
    figure, (left, right) = panels(2, 3.9, 3.3, 2)
    left.plot([0, 1], [0, 1], color="black", linewidth=0.8)
    for (unit, (error, std, _)), colour in zip(doubt_of(heldout).items(), COLOURS, strict=False):
        own = [row for row in rows if row["unit"] == unit]
        promised = [_number(row["nominal"]) for row in own]
        left.plot(promised, [_number(row["coverage"]) for row in own], "o-", color=colour, markersize=3, label=unit)
        order = np.array_split(np.argsort(std, kind="stable"), _BINS)
        right.plot(
            [float(std[part].mean()) for part in order],
            [float(np.sqrt(np.mean(error[part] ** 2))) for part in order],
            "o-",
            color=colour,
            markersize=3,
            label=unit,
        )
    limit = right.get_xlim()[1]
    right.plot([0, limit], [0, limit], color="black", linewidth=0.8)
    left.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
    left.set_xlabel("promised share", fontsize=9)
    left.set_ylabel("share of labels inside", fontsize=9)
    right.set_xlabel("mos_std", fontsize=9)
    right.set_ylabel("RMS error", fontsize=9)
    for axes in (left, right):
        axes.legend(fontsize=8, loc="upper left", frameon=False)
        plain(axes)
    return png(figure)


def confusion(counts: np.ndarray, title: str) -> bytes:
    """True cause by rows, shares of what was said."""
    figure = Figure(figsize=(5.2, 4.4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    for (y, x), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[y, x] > 0.6 else "black"
            axes.text(x, y, str(count), ha="center", va="center", fontsize=7.5, color=colour)
    names = [name.replace("_", " ") for name in CAUSE_NAMES]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(labelsize=8)
    axes.set_xlabel(f"said ({title})", fontsize=9)
    axes.set_ylabel("true cause", fontsize=9)
    return png(figure)

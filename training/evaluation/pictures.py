"""Figures as PNG. Drawn on matplotlib's Figure objects, without pyplot and its global state; no display is needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from livemos.training.evaluation.canvas import BLUE, COLOURS, DPI, GREY, ORANGE, panels, plain, png
from livemos.training.evaluation.figures import Row, tells_mos, units
from livemos.training.evaluation.robustness import CLEAN
from livemos.training.evaluation.scored import DIMENSIONS, ScoredSet

_Z90 = 1.645


def scatter(sets: Sequence[ScoredSet]) -> bytes:
    """Score against votes, clip by clip (conditions where clips have no votes), with identity and 90 % interval."""
    figure, all_axes = panels(len(sets), 3.6, 3.5, 3)
    for axes, scored in zip(all_axes, sets, strict=True):
        unit = next(iter(units(scored)))
        votes, scores = unit.votes["mos"], unit.columns["mos"]
        if unit.name == "clip":
            axes.errorbar(
                votes, scores, yerr=_Z90 * scored.mos_std, fmt="none", ecolor=GREY, elinewidth=0.5, alpha=0.35
            )
        axes.plot([1, 5], [1, 5], color="black", linewidth=0.8)
        axes.plot(votes, scores, "o", color=BLUE, markersize=3.5, alpha=0.75, markeredgewidth=0)
        unset = votes[~np.isfinite(scores)]
        axes.plot(unset, np.full(len(unset), 1.0), "x", color=ORANGE, markersize=5, label=f"{len(unset)} without score")
        if len(unset):
            axes.legend(fontsize=7, loc="upper left", frameon=False)
        axes.set(xlim=(0.9, 5.1), ylim=(0.9, 5.1), xticks=range(1, 6), yticks=range(1, 6), aspect="equal")
        axes.set_title(f"{scored.rated.name} ({unit.name}s)", fontsize=10)
        axes.set_xlabel("listeners", fontsize=9)
        axes.set_ylabel("livemos", fontsize=9)
        plain(axes)
    return png(figure)


def conditions(sets: Sequence[ScoredSet]) -> bytes:
    """Box plot of the clips' scores in each condition, in order of the listeners' mean (marked)."""
    figure, all_axes = panels(len(sets), 9.0, 3.0, 1)
    for axes, scored in zip(all_axes, sets, strict=True):
        by_condition = scored.rated.condition_votes()
        names = sorted(by_condition, key=lambda name: by_condition[name].mos)
        member = np.array([clip.condition for clip in scored.rated.clips])
        mos = scored.columns["mos"]
        boxes = [mos[(member == name) & np.isfinite(mos)] for name in names]
        axes.boxplot(
            boxes,
            widths=0.55,
            patch_artist=True,
            boxprops={"facecolor": "#c9dcea", "edgecolor": BLUE, "linewidth": 0.8},
            medianprops={"color": BLUE, "linewidth": 1.4},
            whiskerprops={"color": BLUE, "linewidth": 0.8},
            capprops={"color": BLUE, "linewidth": 0.8},
            flierprops={"marker": ".", "markersize": 3, "markeredgecolor": BLUE},
        )
        positions = np.arange(1, len(names) + 1)
        axes.plot(
            positions, [by_condition[name].mos for name in names], "D", color=ORANGE, markersize=4.5, label="listeners"
        )
        axes.set_xticks(positions, names, rotation=40, ha="right", fontsize=7)
        axes.set(ylim=(0.9, 5.1), yticks=range(1, 6))
        axes.set_title(scored.rated.name, fontsize=10)
        axes.legend(fontsize=8, loc="upper left", frameon=False)
        plain(axes)
    return png(figure)


def calibration(rows: Sequence[Row]) -> bytes:
    """Share of clips inside the interval, against the share that it promises: as given, and after one line a set."""
    names = list(dict.fromkeys(str(row["set"]) for row in rows))
    figure, all_axes = panels(2, 4.2, 3.9, 2)
    titles = {"raw": "as given", "line": "after one line per set"}
    for axes, variant in zip(all_axes, titles, strict=True):
        axes.plot([0, 1], [0, 1], color="black", linewidth=0.8)
        for name, colour in zip(names, COLOURS, strict=False):
            chosen = [row for row in rows if row["set"] == name and row["variant"] == variant]
            axes.plot(
                [_float(row["nominal"]) for row in chosen],
                [_float(row["coverage"]) for row in chosen],
                "o-",
                color=colour,
                markersize=3.5,
                linewidth=1.3,
                label=name,
            )
        axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
        axes.set_title(titles[variant], fontsize=10)
        axes.set_xlabel("promised share", fontsize=9)
        axes.set_ylabel("share of clips inside", fontsize=9)
        axes.legend(fontsize=8, loc="lower right", frameon=False)
        plain(axes)
    return png(figure)


def lengths(rows: Sequence[Row]) -> bytes:
    """Pearson against seconds heard, one panel a set; solid: excerpts of clips, dashed: rolling over a condition."""
    names = list(dict.fromkeys(str(row["set"]) for row in rows))
    poolings = list(dict.fromkeys(str(row["pooling"]) for row in rows))
    figure, all_axes = panels(len(names), 3.6, 3.1, 3)
    for axes, name in zip(all_axes, names, strict=True):
        for pooling, colour in zip(poolings, COLOURS, strict=False):
            for unit, style in (("clip", "o-"), ("condition", "s--")):
                chosen = [
                    row
                    for row in rows
                    if (row["set"], row["pooling"], row["unit"]) == (name, pooling, unit) and row["seconds"] is not None
                ]
                if chosen:
                    axes.plot(
                        [_float(row["seconds"]) for row in chosen],
                        [_float(row["pearson"]) for row in chosen],
                        style,
                        color=colour,
                        markersize=4,
                        linewidth=1.3,
                        label=pooling if style == "o-" else None,
                    )
        axes.set_xscale("log")
        axes.set_xticks([1, 2, 4, 10, 30], ["1", "2", "4", "10", "30"])
        axes.minorticks_off()
        axes.set_xlim(0.85, 36)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("seconds heard", fontsize=9)
        axes.set_ylabel("Pearson", fontsize=9)
        plain(axes)
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=4, frameon=False)
    return png(figure)


def correlations(rows: Sequence[Row]) -> bytes:
    """Heat map of Pearson with MOS votes: models down, sets across, per clip (per condition where votes are so)."""
    first: dict[tuple[str, str], Row] = {}
    for row in rows:
        column = str(row["column"])
        wanted = tells_mos(column) or column in ("level", "bands_ridge")
        if row["target"] == "mos" and wanted and row.get("pearson") is not None:
            first.setdefault((column, str(row["set"])), row)
    names = list(dict.fromkeys(name for _, name in first))
    order = {"livemos": 0, "peer": 1, "baseline": 2}
    ordered = sorted(first.items(), key=lambda item: (order[str(item[1]["kind"])], item[0][0]))
    columns = list(dict.fromkeys(column for (column, _), _row in ordered))
    table = np.array([[_float(first.get((c, n), {}).get("pearson")) for n in names] for c in columns])
    own = {column for (column, _), row in first.items() if row["kind"] == "livemos"}
    labels = [f"livemos {column}" if column in own else column for column in columns]
    figure = Figure(figsize=(2.8 + 1.1 * len(names), 1.0 + 0.27 * len(columns)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    _heat(axes, table, labels, names, "YlGnBu", (0.0, 1.0), "{:.2f}")
    axes.set_title("Pearson with listeners' MOS", fontsize=10)
    return png(figure)


def ladder(rows: Sequence[Row]) -> bytes:
    """Heat map of mean changes: damages down, scores across; the dimension a damage belongs to is framed."""
    changes = [row for row in rows if row["damage"] != CLEAN]
    table = np.array([[_float(row[name]) for name in DIMENSIONS] for row in changes])
    figure = Figure(figsize=(6.6, 1.2 + 0.33 * len(changes)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    _heat(axes, table, [str(row["damage"]) for row in changes], list(DIMENSIONS), "RdBu", (-3.0, 3.0), "{:+.2f}")
    for number, row in enumerate(changes):
        if row["own_dimension"]:
            column = DIMENSIONS.index(str(row["own_dimension"]))
            axes.plot(
                np.array([-0.47, 0.47, 0.47, -0.47, -0.47]) + column,
                np.array([-0.45, -0.45, 0.45, 0.45, -0.45]) + number,
                color="black",
                linewidth=1.4,
            )
    axes.set_title("change of the mean score (framed: the damage's own dimension)", fontsize=10)
    return png(figure)


def _heat(
    axes: Axes,
    table: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    colours: str,
    limits: tuple[float, float],
    text: str,
) -> None:
    axes.imshow(table, aspect="auto", cmap=colours, vmin=limits[0], vmax=limits[1])
    axes.set_xticks(range(len(columns)), columns, fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    dark = (limits[1] - limits[0]) * (0.5 if limits[0] == 0 else 0.33)
    for (row, column), value in np.ndenumerate(table):
        if np.isfinite(value):
            strong = (value if limits[0] == 0 else abs(value)) > dark
            axes.text(
                column,
                row,
                text.format(value),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if strong else "black",
            )


def _float(value: object) -> float:
    return float("nan") if value is None else float(str(value))

"""Figures for programs (CSV, JSON lines) and for people (a table)."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from livemos.training.evaluation.figures import Row, tells_mos

Files = dict[str, str | bytes]  # content by name
_DIGITS = 4
_PEERS_SHOWN = 3


def plain(value: object) -> object:
    """A value as it is written: floats with four decimals, what is not known as None."""
    if isinstance(value, float):
        return round(value, _DIGITS) if math.isfinite(value) else None
    return value


def csv_text(rows: Iterable[Row], columns: Sequence[str] = ()) -> str:
    """Rows under `columns`, or under all that occur, in order of appearance; empty where a row has none."""
    held = list(rows)
    names = list(columns) or list(dict.fromkeys(name for row in held for name in row))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([plain(row.get(name)) for name in names] for row in held)
    return buffer.getvalue()


def jsonl_text(rows: Iterable[Row]) -> str:
    """One object a line."""
    return "".join(json.dumps({name: plain(value) for name, value in row.items()}) + "\n" for row in rows)


def write(folder: Path, files: Files) -> None:
    """Write files into a folder that is made when it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def with_interval(row: Row, name: str, form: str = "{:.2f}") -> str:
    """`0.91 (0.80..0.95)`, empty where the figure is not known."""
    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if plain(value) is None:
        return ""
    text = form.format(value)
    return text if plain(low) is None else f"{text} ({form.format(low)}..{form.format(high)})"


def number(value: object, form: str = "{:.2f}") -> str:
    """A figure as text, empty where it is not known."""
    return "" if plain(value) is None else form.format(value) if isinstance(value, float) else str(value)


def main_rows(rows: Sequence[Row]) -> list[Row]:
    """What a reader looks at first: MOS votes; livemos, the best public models of each set and unit, the baselines.

    Public models that need the clean reference are left out: they answer another question.
    """
    chosen: list[Row] = []
    for key in dict.fromkeys((row["set"], row["unit"]) for row in rows):
        of_unit = [row for row in rows if (row["set"], row["unit"]) == key and row["target"] == "mos"]
        peers = [
            row
            for row in of_unit
            if row["kind"] == "peer"
            and tells_mos(str(row["column"]))
            and not str(row["column"]).startswith(("pesq", "visqol"))
            and plain(row.get("pearson")) is not None
        ]
        peers.sort(key=lambda row: -float(str(row["pearson"])))
        own = [row for row in of_unit if row["column"] in ("mos", "mos_ungated")]
        chosen += own + peers[:_PEERS_SHOWN] + [row for row in of_unit if row["kind"] == "baseline"]
    return chosen


def dimension_rows(rows: Sequence[Row]) -> list[Row]:
    """SIG and BAK votes against the outputs that are meant for them."""
    return [row for row in rows if row["target"] != "mos"]


MAIN_HEADINGS = (
    *("set", "unit", "output", "n", "unset", "Pearson", "Spearman", "RMSE", "after a line", "after a cubic"),
    *("RMSE* after a cubic", "PRA", "bias"),
)


def main_cells(row: Row) -> tuple[str, ...]:
    """One line of the main table; RMSE* is the one after the third-order mapping."""
    return (
        str(row["set"]),
        str(row["unit"]),
        f"livemos {row['column']}" if row["kind"] == "livemos" else str(row["column"]),
        str(row["n"]),
        str(row["unset"] or ""),
        with_interval(row, "pearson"),
        number(row.get("spearman")),
        number(row.get("rmse")),
        number(row.get("rmse_first_order")),
        number(row.get("rmse_third_order")),
        number(row.get("rmse_star_third_order")),
        number(row.get("pra")),
        number(row.get("bias"), "{:+.2f}"),
    )


# what fits a terminal of 80 columns
_SHOWN = {"output": 2, "n": 3, "Pearson (95 %)": 5, "Spearman": 6, "RMSE": 7, "line": 8, "PRA": 11, "bias": 12}


def show(rows: Sequence[Row], title: str, console: Console) -> None:
    """The main table, one for each set and unit."""
    console.print(f"{title}; line: RMSE after one line")
    held = main_rows(rows)
    for name, unit in dict.fromkeys((row["set"], row["unit"]) for row in held):
        table = Table(
            title=f"\n{name}, per {unit}", title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 0)
        )
        for heading in _SHOWN:
            table.add_column(heading, justify="left" if heading == "output" else "right", no_wrap=True)
        for row in held:
            if (row["set"], row["unit"]) == (name, unit):
                cells = main_cells(row)
                style = "bold" if row["kind"] == "livemos" else None
                table.add_row(*(cells[place] for place in _SHOWN.values()), style=style)
        console.print(table)


def show_rows(
    rows: Sequence[Row], columns: Sequence[str], title: str, console: Console, intervals: Sequence[str] = ()
) -> None:
    """Any rows as a table of two decimals, headings in lines of one word; `intervals`: figures with their brackets."""
    table = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 0))
    for place, column in enumerate(columns):
        heading = column.replace("_", "\n")
        table.add_column(heading, justify="right" if place else "left", no_wrap=True, vertical="bottom")
    for row in rows:
        table.add_row(*(with_interval(row, name) if name in intervals else number(row.get(name)) for name in columns))
    console.print(table)

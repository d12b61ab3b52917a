"""How the commands of this room report: progress on stderr, a table or CSV on stdout, files in a folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from livemos.agent.records import ModelDescription
from livemos.training.evaluation.figures import Row
from livemos.training.evaluation.formats import Format
from livemos.training.evaluation.output import Files, csv_text, jsonl_text, show_rows, write
from livemos.training.evaluation.report import Section, html


def progress() -> Progress:
    """A bar on stderr, to be entered."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def chosen(asked: Format | None) -> Format:
    """What was asked for, else a table on a terminal and CSV into a pipe."""
    return asked or (Format.TABLE if sys.stdout.isatty() else Format.CSV)


def write_report(
    out: Path, files: Files, sections: Sequence[Section], model: ModelDescription, *, small: bool = False
) -> None:
    """Every table and picture, and report.html. small: without JSON lines, which say what a CSV says."""
    facts = [
        f"{model.model_id}, {model.engine}. 1 s segments every 0.5 s; nothing was fitted or chosen on these clips "
        "unless a column says so."
    ]
    kept = {name: content for name, content in files.items() if not (small and name.endswith(".jsonl"))}
    write(out, kept | {"report.html": html(f"{model.name} {model.version}: evaluation", facts, sections)})
    print(f"livemos: wrote {len(kept) + 1} files to {out}", file=sys.stderr)


def print_rows(
    rows: Sequence[Row],
    columns: Sequence[str],
    asked: Format | None,
    title: str,
    shown: Sequence[str] = (),
    intervals: Sequence[str] = (),
) -> None:
    """All columns for programs; for people `shown` of them, those of `intervals` with their brackets."""
    output_format = chosen(asked)
    if output_format is Format.TABLE:
        show_rows(rows, shown or columns, title, Console(), intervals)
    else:
        sys.stdout.write(csv_text(rows, columns) if output_format is Format.CSV else jsonl_text(rows))

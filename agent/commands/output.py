"""How commands print: a table for people, CSV or JSON lines for programs; nothing computed here."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import TextIO

Row = Mapping[str, object]
_WIDEST_TEXT = 28


class Format(Enum):
    """What `--format` takes."""

    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"


def choose_format(asked: Format | None, out: TextIO | None = None) -> Format:
    """What was asked for, else a table on a terminal and CSV into a pipe."""
    return asked or (Format.TABLE if (out or sys.stdout).isatty() else Format.CSV)


def print_rows(
    rows: Iterable[Row], columns: Sequence[str], output_format: Format, *, headings: Mapping[str, str] | None = None
) -> None:
    """Print rows as they come (a table at the end); unset values are empty, in JSON null.

    `headings` are the columns a table shows and what stands above them, where all columns would not fit a screen.
    """
    try:
        _print_rows(rows, columns, output_format, headings)
    except BrokenPipeError:
        silence_output()


def silence_output() -> None:
    """The reader of our output has gone (`| head`): that is no error of ours, and nothing more is to be printed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_rows(
    rows: Iterable[Row], columns: Sequence[str], output_format: Format, headings: Mapping[str, str] | None
) -> None:
    if output_format is Format.TABLE:
        _print_table(rows, headings or {column: column.replace("_", " ") for column in columns})
    elif output_format is Format.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_text(row.get(column)) for column in columns])
            sys.stdout.flush()
    else:
        for row in rows:
            print(json.dumps({column: row.get(column) for column in columns}, ensure_ascii=False), flush=True)


def _text(value: object) -> str:
    return "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def _print_table(rows: Iterable[Row], headings: Mapping[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    rows = list(rows)
    numeric = {column for column in headings if any(isinstance(row.get(column), (int, float)) for row in rows)}
    for column, heading in headings.items():
        number = column in numeric  # a narrow screen folds text, never a number
        table.add_column(heading, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in rows:
        # as Text: rich would read the brackets of a file's name, or :smile:, as its own marks
        table.add_row(*(Text(_cell(row.get(column))) for column in headings))
    Console().print(table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}"
    text = str(value)
    # of a path the end tells more than the beginning
    return text if len(text) <= _WIDEST_TEXT else f"…{text[1 - _WIDEST_TEXT :]}"

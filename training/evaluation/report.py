"""One HTML file with everything in it: no script, no font, no picture from anywhere else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1080px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2.2em; border-bottom: 1px solid #ddd }
table { border-collapse: collapse; font-size: 12.5px; margin: 1em 0; display: block; overflow-x: auto }
th, td { padding: 2px 9px; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
th { border-bottom: 1px solid #888; font-weight: 600 } td.text, th.text { text-align: left }
tr.own td { font-weight: 600; background: #eef4f9 } tr.first td { border-top: 1px solid #ccc }
img { max-width: 100% } p.note { color: #555; font-size: 13px }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading, a sentence or two, then pictures and a table. own: rows to bring out; text_columns: left-aligned."""

    title: str
    note: str
    pictures: tuple[bytes, ...] = ()
    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    own: frozenset[int] = frozenset()
    text_columns: int = 1


def html(title: str, facts: Sequence[str], sections: Sequence[Section]) -> str:
    """The report."""
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>",
        *(f"<p>{escape(fact)}</p>" for fact in facts),
    ]
    for section in sections:
        parts.append(f"<h2>{escape(section.title)}</h2><p class=note>{escape(section.note)}</p>")
        parts += [
            f'<img alt="{escape(section.title)}" src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
            for picture in section.pictures
        ]
        if section.rows:
            parts.append(_table(section))
    return "\n".join([*parts, "</body></html>\n"])


def _table(section: Section) -> str:
    def kind(column: int) -> str:
        return " class=text" if column < section.text_columns else ""

    lines = ["<table><tr>", *(f"<th{kind(k)}>{escape(name)}</th>" for k, name in enumerate(section.headings)), "</tr>"]
    before = None
    for number, row in enumerate(section.rows):
        classes = ["own"] * (number in section.own) + ["first"] * (row[:2] != before)
        before = row[:2]
        cells = "".join(f"<td{kind(k)}>{escape(cell)}</td>" for k, cell in enumerate(row))
        lines.append(f'<tr class="{" ".join(classes)}">{cells}</tr>')
    return "".join([*lines, "</table>"])

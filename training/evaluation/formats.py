"""How figures are printed."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """A table for people, CSV and JSON lines for programs."""

    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"

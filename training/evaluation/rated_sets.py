"""Sets of clips with listeners' votes, and what public models said of the same clips.

A set is a folder with ratings.csv (file, condition, mos; mos_std, n_ratings, sig, bak where known) and audio files;
votes that are published per condition alone stand in conditions.csv. Nothing is trained on them.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from livemos.agent.errors import ConfigError
from livemos.training.evaluation.statistics import confidence_interval_95

TARGETS = ("mos", "sig", "bak")
_HIDDEN_REFERENCE = "ref"  # MUSHRA's: listeners knew it was there, so it says nothing about a model
_NEEDED = ("file", "condition", "mos")


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """Mean opinions, NaN where not published. ci95 is the half width of the 95 % interval of mos."""

    mos: float
    sig: float
    bak: float
    std: float
    count: float

    @property
    def ci95(self) -> float:
        return confidence_interval_95(self.std, self.count)


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedClip:
    """One clip of a set."""

    file: str
    condition: str
    votes: Votes


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedSet:
    """A set; conditions holds the votes that were published per condition, empty where clips have their own."""

    name: str
    folder: Path
    clips: tuple[RatedClip, ...]
    conditions: dict[str, Votes]
    relative_scale: bool  # votes against a reference: order is meant, absolute error is not

    @property
    def votes_per_clip(self) -> bool:
        return not self.conditions

    def condition_votes(self) -> dict[str, Votes]:
        """Votes of each condition, in order of appearance: published, or pooled from its clips."""
        members: dict[str, list[Votes]] = {}
        for clip in self.clips:
            members.setdefault(clip.condition, []).append(clip.votes)
        if self.conditions:
            return {name: self.conditions[name] for name in members}
        return {name: _pooled(votes) for name, votes in members.items()}


def read_sets(data: Path, names: Sequence[str] = ()) -> list[RatedSet]:
    """The sets below `data`/rated (or below `data` itself), in order of name. Raises ConfigError."""
    root = data / "rated" if (data / "rated").is_dir() else data
    found = {file.parent.name: file.parent for file in sorted(root.glob("*/ratings.csv"))}
    if not found:
        raise ConfigError(
            f"{data} has no rated sets (rated/NAME/ratings.csv); give the data folder, or one of sets, with --data"
        )
    unknown = [name for name in names if name not in found]
    if unknown:
        raise ConfigError(f"--sets {', '.join(unknown)}: not below {root}; choose from: {', '.join(found)}")
    return [_read_set(found[name]) for name in names or found]


def _read_set(folder: Path) -> RatedSet:
    rows = _rows(folder / "ratings.csv", _NEEDED)
    clips = tuple(
        RatedClip(file=row["file"], condition=row["condition"], votes=_votes(row, folder / "ratings.csv"))
        for row in rows
        if row["condition"] != _HIDDEN_REFERENCE
    )
    lost = [clip.file for clip in clips if not (folder / clip.file).is_file()]
    if lost:
        raise ConfigError(
            f"{folder / 'ratings.csv'} names {lost[0]}, which is not there ({len(lost)} such); copy it again"
        )
    conditions: dict[str, Votes] = {}
    published = folder / "conditions.csv"
    if published.is_file():
        conditions = {row["condition"]: _votes(row, published) for row in _rows(published, ("condition", "mos"))}
        without = sorted({clip.condition for clip in clips} - set(conditions))
        if without:
            raise ConfigError(f"{published} has no row for condition {without[0]} of ratings.csv; copy it again")
    unrated = sorted({clip.condition for clip in clips if np.isnan(clip.votes.mos)} - set(conditions))
    if unrated:
        raise ConfigError(f"{folder}: no votes for condition {unrated[0]} in ratings.csv, nor in conditions.csv")
    return RatedSet(
        name=folder.name,
        folder=folder,
        clips=clips,
        conditions=conditions,
        relative_scale=bool(rows) and "mushra" in rows[0],
    )


def _rows(file: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
    except UnicodeDecodeError as unread:
        raise ConfigError(f"{file} is not UTF-8 ({unread.reason} at byte {unread.start}); save it as UTF-8") from unread
    missing = [column for column in needed if not rows or column not in rows[0]]
    if missing:
        raise ConfigError(f"{file}: no rows, or no column {', '.join(missing)}; a rated set needs {', '.join(needed)}")
    return rows


def _number(row: dict[str, str], column: str, file: Path) -> float:
    """NaN where the cell is empty or there is no such column. Raises ConfigError."""
    text = row.get(column)
    try:
        return float(text) if text else float("nan")
    except ValueError as unread:
        raise ConfigError(f"{file}: {column} is {text!r}; give a number, or leave the cell empty") from unread


def _votes(row: dict[str, str], file: Path) -> Votes:
    return Votes(
        mos=_number(row, "mos", file),
        sig=_number(row, "sig", file),
        bak=_number(row, "bak", file),
        std=_number(row, "mos_std", file),
        count=_number(row, "n_ratings", file),
    )


def _pooled(votes: Sequence[Votes]) -> Votes:
    """Means of the clips' means; the spread is that of all votes together, within and between clips."""
    mos, std, count = (np.array([getattr(each, name) for each in votes]) for name in ("mos", "std", "count"))
    total = count.sum()
    squares = ((count - 1) * std**2).sum() + (
        count * (mos - np.average(mos, weights=np.nan_to_num(count, nan=1.0))) ** 2
    ).sum()
    return Votes(
        mos=float(mos.mean()),
        sig=float(np.mean([each.sig for each in votes])),
        bak=float(np.mean([each.bak for each in votes])),
        std=float(np.sqrt(squares / (total - 1))),
        count=float(total),
    )


def read_peers(peers: Path, rated: RatedSet) -> dict[str, dict[str, float]]:
    """Column -> file -> output of a public model, from `peers`/scores/SET.csv (or `peers`/SET.csv). Raises ConfigError.

    Empty when no file is there for this set.
    """
    files = [folder / f"{rated.name}.csv" for folder in (peers / "scores", peers)]
    file = next((each for each in files if each.is_file()), None)
    if file is None:
        return {}
    rows = {row["file"]: row for row in _rows(file, ("file", "mos"))}
    unknown = [clip.file for clip in rated.clips if clip.file not in rows]
    if unknown:
        raise ConfigError(
            f"{file} has no row for {unknown[0]} of {rated.name}; it belongs to another version of the set"
        )
    columns = [name for name in next(iter(rows.values())) if name not in ("file", "mos")]
    return {column: {clip.file: _number(rows[clip.file], column, file) for clip in rated.clips} for column in columns}


def check_peers(peers: Path) -> None:
    """Raises ConfigError for a folder without any table."""
    if not (list(peers.glob("scores/*.csv")) or list(peers.glob("*.csv"))):
        raise ConfigError(f"{peers} has no scores/SET.csv; give the folder of the public models' outputs with --peers")

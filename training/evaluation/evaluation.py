"""A whole evaluation: sets scored, figures, files and the sections of the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from livemos.training.evaluation import doubt, figures, languages, lengths, pictures, robustness
from livemos.training.evaluation.figures import Row
from livemos.training.evaluation.output import (
    MAIN_HEADINGS,
    Files,
    csv_text,
    dimension_rows,
    jsonl_text,
    main_cells,
    main_rows,
    number,
    with_interval,
)
from livemos.training.evaluation.rated_sets import RatedSet, read_peers
from livemos.training.evaluation.report import Section
from livemos.training.evaluation.robustness import Robustness
from livemos.training.evaluation.scored import DIMENSIONS, Listener, ScoredSet, score_set
from livemos.training.evaluation.statistics import RESAMPLES


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All rows of all sets."""

    sets: list[ScoredSet]
    figures: list[Row]
    beside: list[Row]
    lengths: list[Row]
    doubt: list[Row]
    bias: list[Row]


def evaluate(
    sets: Sequence[RatedSet],
    listener: Listener,
    peers: Path | None,
    scored: Callable[[], object],
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Score and judge the sets, calling `scored` after each clip. Raises ConfigError, SourceError."""
    columns = [read_peers(peers, rated) if peers else {} for rated in sets]
    done = [score_set(rated, listener, own, scored) for rated, own in zip(sets, columns, strict=True)]
    rows = [row for each in done for row in figures.figures(each, resamples)]
    return Evaluation(
        sets=done,
        figures=rows,
        beside=[row for each in done for row in figures.beside_rows(each, resamples)],
        lengths=[row for each in done for row in lengths.lengths(each, resamples)],
        doubt=[row for each in done for row in doubt.doubts(each)],
        bias=list(figures.bias_rows(done, rows)),
    )


def rated_files(result: Evaluation) -> Files:
    """Tables and pictures by file name."""
    files: Files = {
        "figures.csv": csv_text(result.figures, figures.FIGURE_COLUMNS),
        "figures.jsonl": jsonl_text(result.figures),
        "clips.csv": csv_text(row for each in result.sets for row in figures.clip_rows(each)),
        "beside.csv": csv_text(result.beside, figures.BESIDE_COLUMNS),
        "lengths.csv": csv_text(result.lengths, lengths.LENGTH_COLUMNS),
        "bias.csv": csv_text(result.bias),
        "doubt.csv": csv_text(result.doubt, doubt.DOUBT_COLUMNS),
        "scatter.png": pictures.scatter(result.sets),
        "conditions.png": pictures.conditions(result.sets),
        "correlations.png": pictures.correlations(result.figures),
    }
    if result.lengths:
        files["lengths.png"] = pictures.lengths(result.lengths)
    if result.doubt:
        files["coverage.png"] = pictures.calibration(result.doubt)
    return files


def robustness_files(result: Robustness) -> Files:
    """Tables and the picture by file name."""
    return {
        "ladder.csv": csv_text(result.ladder, robustness.LADDER_COLUMNS),
        "presence.csv": csv_text(result.presence, robustness.PRESENCE_COLUMNS),
        "ladder.png": pictures.ladder(result.ladder),
    }


def rated_sections(result: Evaluation, files: Files) -> list[Section]:
    """Sections of the report about listeners."""
    shown = main_rows(result.figures)
    listed = [
        Section(
            title="Beside listeners",
            note="Brackets: 95 % intervals, conditions resampled. mos: as the product answers, unset where its gate "
            "finds no speech (then left out, and counted). mos_ungated: plain mean over all 1 s segments, as the "
            "public models' _1s columns. bands_ridge is fitted on the same set, each condition from the others: how "
            "easy the set is. "
            "RMSE* leaves out what the votes' own doubt explains.",
            pictures=_of(files, "scatter.png"),
            headings=MAIN_HEADINGS,
            rows=tuple(main_cells(row) for row in shown),
            own=frozenset(k for k, row in enumerate(shown) if row["kind"] == "livemos"),
            text_columns=3,
        ),
        Section(title="Every model on every set", note="Pearson as it is.", pictures=_of(files, "correlations.png")),
        Section(
            title="Per condition",
            note="Boxes: clips of one condition. Diamonds: listeners.",
            pictures=_of(files, "conditions.png"),
        ),
        _dimensions(result),
        _bias(result),
    ]
    if result.lengths:
        listed.append(
            Section(
                title="Length and pooling",
                note="Solid: excerpts of clips against the clip's votes. Dashed: rolling windows over the clips of one "
                "condition in a row, against the condition's votes.",
                pictures=_of(files, "lengths.png"),
            )
        )
    if result.doubt:
        listed.append(_doubt(result, files))
    return listed


def _of(files: Files, name: str) -> tuple[bytes, ...]:
    picture = files.get(name)
    return (picture,) if isinstance(picture, bytes) else ()


def _dimensions(result: Evaluation) -> Section:
    rows = dimension_rows(result.figures)
    return Section(
        title="P.835 votes: background and speech",
        note="BAK votes against noisiness; SIG votes against coloration, discontinuity and their mean.",
        headings=("set", "unit", "votes", "output", "n", "Pearson", "Spearman"),
        rows=tuple(
            (
                str(row["set"]),
                str(row["unit"]),
                str(row["target"]).upper(),
                str(row["column"]),
                str(row["n"]),
                with_interval(row, "pearson"),
                number(row.get("spearman")),
            )
            for row in rows
        ),
        own=frozenset(k for k, row in enumerate(rows) if row["kind"] == "livemos"),
        text_columns=4,
    )


def _bias(result: Evaluation) -> Section:
    names = list(dict.fromkeys(name for row in result.bias for name in row if name not in ("column", "kind")))
    kept = [row for row in result.bias if figures.tells_mos(str(row["column"])) or row["column"] == "constant"]
    return Section(
        title="Raw bias per set and band",
        note="Mean score less mean vote, nothing fitted; a band's is the mean of its sets. Sets with a relative scale "
        "are left out.",
        headings=("output", *names),
        rows=tuple((str(row["column"]), *(number(row.get(name), "{:+.2f}") for name in names)) for row in kept),
        own=frozenset(k for k, row in enumerate(kept) if row["kind"] == "livemos"),
    )


def _doubt(result: Evaluation, files: Files) -> Section:
    rows = [row for row in result.doubt if row["nominal"] in (0.5, 0.9)]
    return Section(
        title="Doubt",
        note="Share of clips whose votes lie inside the interval that mos_std gives. raw: as given. line: after one "
        "line a set. line+votes: with the doubt of the votes' own mean added.",
        pictures=_of(files, "coverage.png"),
        headings=("set", "variant", "promised", "inside", "clips", "mean std", "RMS error"),
        rows=tuple(
            (str(row["set"]), str(row["variant"]), *(number(row[name]) for name in doubt.DOUBT_COLUMNS[2:]))
            for row in rows
        ),
        text_columns=2,
    )


def robustness_sections(result: Robustness, files: Files) -> list[Section]:
    """Sections of the report about known damage and about sounds without speech."""
    clean = result.ladder[0]
    levels = ", ".join(f"{name} {number(clean[name])}" for name in DIMENSIONS)
    against = robustness.own_against_others(result.ladder)
    return [
        Section(
            title="What moves each score",
            note=f"{clean['clips']} clean clips at -26 dBov: {levels}. Below, the mean change under one damage each; "
            "brackets: 95 % intervals over clips. lowered: share of clips whose score falls. worst second: change of "
            "the lowest segment.",
            pictures=_of(files, "ladder.png"),
            headings=("damage", "unset", "MOS", "lowered", "worst second", *DIMENSIONS[1:]),
            rows=tuple(
                (
                    str(row["damage"]),
                    str(row["unset"] or ""),
                    with_interval(row, "mos", "{:+.2f}"),
                    number(row["lowered_ratio"]),
                    number(row["worst_second"], "{:+.2f}"),
                    *(number(row[name], "{:+.2f}") for name in DIMENSIONS[1:]),
                )
                for row in result.ladder[1:]
            ),
        ),
        Section(
            title="Own damage against others'",
            note="Mean fall of each dimension for the damages that are its own, and for those of the other three.",
            headings=("dimension", "mean fall, own causes", "mean fall, others", "largest fall, others"),
            rows=tuple(
                (str(row["dimension"]), *(number(value) for value in list(row.values())[1:])) for row in against
            ),
        ),
        Section(
            title="What must and must not be scored",
            note=f"Share of 1 s segments treated rightly; the goal is {robustness.PRESENCE_GOAL:.0%} of each.",
            headings=("sound", "wanted", "right", "segments", "share", "goal met"),
            rows=tuple(
                tuple(number(row[name], "{:.3f}") for name in robustness.PRESENCE_COLUMNS) for row in result.presence
            ),
            text_columns=2,
        ),
    ]


def language_files(rows: Sequence[Row]) -> Files:
    """The table by file name."""
    return {"languages.csv": csv_text(rows, languages.LANGUAGE_COLUMNS)}


def language_sections(rows: Sequence[Row]) -> list[Section]:
    """The section about clean speech by language."""
    return [
        Section(
            title="Clean speech by language",
            note="Whole recordings at -26 dBov. Recordings differ, so only the difference to Distill-MOS counts. "
            "beside all: that of the language less that of all clips, with the 95 % interval over its speakers.",
            headings=("language", "clips", "speakers", "unset", "livemos", "Distill-MOS", "difference", "beside all"),
            rows=tuple(
                (
                    str(row["language"]),
                    str(row["clips"]),
                    str(row["speakers"]),
                    str(row["unset"] or ""),
                    number(row.get("livemos")),
                    number(row.get("distill_mos")),
                    number(row.get("difference"), "{:+.2f}"),
                    with_interval(row, "beside_all", "{:+.2f}"),
                )
                for row in rows
            ),
            own=frozenset({0}),
        )
    ]


def goal_section(rows: Sequence[Row]) -> Section:
    """The first section: what was asked for, and what the model does."""
    missed = frozenset(k for k, row in enumerate(rows) if not row["met"])
    return Section(
        title="Goals",
        note=f"{len(rows) - len(missed)} of {len(rows)} met; missed ones stand out. Judged on the figure, not on its "
        "interval (but known damage has to lower the score with all of its interval).",
        headings=("goal", "where", "figure", "wanted", "got", "met"),
        rows=tuple(
            (
                str(row["goal"]),
                str(row["where"]),
                str(row["figure"]),
                str(row["wanted"]),
                with_interval(row, "got", "{:.3f}"),
                "yes" if row["met"] else "no",
            )
            for row in rows
        ),
        own=missed,
        text_columns=4,
    )

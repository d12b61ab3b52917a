"""A whole judgement on held-out simulation: rows, files and the sections of the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from livemos.training.evaluation.figures import Row
from livemos.training.evaluation.output import Files, csv_text, jsonl_text, number, with_interval
from livemos.training.evaluation.report import Section
from livemos.training.evaluation.simulation import causes, dimensions, figures, pictures, pooling
from livemos.training.evaluation.simulation.causes import CauseTable
from livemos.training.evaluation.simulation.heldout import Heldout
from livemos.training.evaluation.statistics import RESAMPLES


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """All rows; see docs/evaluation.md for their columns."""

    heldout: Heldout
    clips: list[Row]
    order: list[Row]
    windows: list[Row]
    coverage: list[Row]
    presence: list[Row]
    matrix: list[Row]
    follows: list[Row]
    table: CauseTable
    causes: list[Row]
    evidence: list[Row]
    estimates: list[Row]
    pooling: list[Row]


def judge(heldout: Heldout, repositories: Mapping[str, str], resamples: int = RESAMPLES) -> Judgement:
    """Every figure. repositories: path of a recording -> where it is from, for the groups of unseen recordings."""
    table = causes.cause_table(heldout)
    return Judgement(
        heldout=heldout,
        clips=list(figures.clip_rows(heldout, repositories, resamples)),
        order=list(figures.order_rows(heldout, repositories, resamples)),
        windows=list(figures.window_rows(heldout, resamples)),
        coverage=list(figures.coverage_rows(heldout, resamples)),
        presence=list(figures.presence_rows(heldout, resamples)),
        matrix=list(dimensions.matrix_rows(heldout, resamples)),
        follows=list(dimensions.follows_rows(heldout, resamples)),
        table=table,
        causes=list(causes.cause_rows(table, resamples)),
        evidence=list(causes.evidence_rows(heldout, table)),
        estimates=list(causes.estimate_rows(heldout, table, resamples)),
        pooling=list(pooling.pooling_rows(heldout, resamples)),
    )


def files_of(result: Judgement) -> Files:
    """Tables and pictures by file name."""
    who = next(iter(result.table.said))
    return {
        "simulation.csv": csv_text(result.clips, figures.FIGURE_COLUMNS),
        "simulation.jsonl": jsonl_text(result.clips),
        "simulation_order.csv": csv_text(result.order, figures.ORDER_COLUMNS),
        "simulation_windows.csv": csv_text(result.windows, figures.WINDOW_COLUMNS),
        "simulation_coverage.csv": csv_text(result.coverage, figures.COVERAGE_COLUMNS),
        "simulation_presence.csv": csv_text(result.presence, figures.PRESENCE_COLUMNS),
        "simulation_pooling.csv": csv_text(result.pooling, pooling.POOLING_COLUMNS),
        "dimensions.csv": csv_text(result.matrix, dimensions.MATRIX_COLUMNS),
        "dimensions_follow.csv": csv_text(result.follows, dimensions.FOLLOWS_COLUMNS),
        "causes.csv": csv_text(result.causes, causes.CAUSE_COLUMNS),
        "causes_confusion.csv": csv_text(causes.confusion_rows(result.table)),
        "causes_evidence.csv": csv_text(result.evidence, causes.EVIDENCE_COLUMNS),
        "causes_estimates.csv": csv_text(result.estimates, causes.ESTIMATE_COLUMNS),
        "simulation.png": pictures.scatter(result.heldout),
        "simulation_ladders.png": pictures.ladders(result.clips, result.order),
        "simulation_coverage.png": pictures.reliability(result.heldout, result.coverage),
        "dimensions.png": pictures.matrix(result.matrix),
        "causes.png": pictures.confusion(result.table.confusion(who), who),
    }


MAIN_HEADINGS = ("group", "name", "output", "clips", "families", "Pearson", "RMSE", "bias", "inside 50", "inside 90")


def main_rows(result: Judgement) -> list[Row]:
    """What a reader looks at first: everything but single kinds, which the picture shows."""
    return [row for row in result.clips if row["group"] != "ladder" and row["column"] in ("mos", "mos_plain")] + [
        row for row in result.clips if row["group"] == "all" and row["column"] not in ("mos", "mos_plain")
    ]


def main_cells(row: Row) -> tuple[str, ...]:
    """One line of the main table."""
    return (
        str(row["group"]),
        str(row["name"]),
        str(row["column"]),
        str(row["clips"]),
        str(row["families"]),
        with_interval(row, "pearson"),
        with_interval(row, "rmse"),
        with_interval(row, "bias", "{:+.2f}"),
        number(row.get("inside_50")),
        number(row.get("inside_90")),
    )


def sections_of(result: Judgement, files: Files) -> list[Section]:
    """Sections of the report."""
    return [
        _overall(result, files),
        _order(result, files),
        _windows(result),
        *_dimensions(result, files),
        _coverage(result, files),
        _causes(result, files),
        _evidence(result),
        _presence(result),
        _pooling(result),
    ]


def _picture(files: Files, name: str) -> tuple[bytes, ...]:
    picture = files[name]
    assert isinstance(picture, bytes)
    return (picture,)


def _overall(result: Judgement, files: Files) -> Section:
    shown = main_rows(result)
    return Section(
        title="Held-out simulation",
        note="Unseen speakers, noises and rooms against their labels; brackets: 95 % intervals over families. mos: "
        "speech-weighted, gated by the speech threshold. mos_plain: all windows alike. inside: share of labels in the "
        "interval of mos_std. bands_ridge is fitted on nine tenths of these clips.",
        pictures=_picture(files, "simulation.png"),
        headings=MAIN_HEADINGS,
        rows=tuple(main_cells(row) for row in shown),
        own=frozenset(k for k, row in enumerate(shown) if row["column"] == "mos"),
        text_columns=3,
    )


def _order(result: Judgement, files: Files) -> Section:
    shown = [row for row in result.order if row["group"] != "ladder"]
    return Section(
        title="Severity ladders",
        note="A ladder is in order when every step between neighbours whose labels differ by more than "
        f"{figures.CLEAR_STEP} MOS has the label's sign.",
        pictures=_picture(files, "simulation_ladders.png"),
        headings=("group", "name", "ladders", "in order", "steps", "in order"),
        rows=tuple(
            (
                str(row["group"]),
                str(row["name"]),
                str(row["ladders"]),
                with_interval(row, "falling_ratio"),
                str(row["steps"]),
                with_interval(row, "right_ratio"),
            )
            for row in shown
        ),
        text_columns=2,
    )


def _windows(result: Judgement) -> Section:
    return Section(
        title="Second by second",
        note="Each output against its own label; windows count as much as they say about quality.",
        headings=("output", "windows", "Pearson", "RMSE", "bias"),
        rows=tuple(
            (
                str(row["output"]),
                str(row["windows"]),
                with_interval(row, "pearson"),
                with_interval(row, "rmse"),
                with_interval(row, "bias", "{:+.2f}"),
            )
            for row in result.windows
        ),
    )


def _dimensions(result: Judgement, files: Files) -> list[Section]:
    against = dimensions.own_against_others(result.matrix)
    return [
        Section(
            title="What moves each dimension",
            note="Mean fall from the first to the two worst members of ladders over undamaged speech, at comfortable "
            "levels. A dimension should fall most for its own cause.",
            pictures=_picture(files, "dimensions.png"),
            headings=("dimension", "own cause", "fall", "also own", "largest other", "fall", "others move less"),
            rows=tuple(
                (*(number(value) for value in list(row.values())[:-1]), "yes" if row["others_move_less"] else "no")
                for row in against
            ),
            text_columns=2,
        ),
        Section(
            title="What each dimension follows",
            note="Pearson and Spearman with the simulator's truth; last: the Spearman that the label itself has.",
            headings=("dimension", "follows", "unit", "values", "Pearson", "Spearman", "of the label"),
            rows=tuple(
                (
                    str(row["dimension"]),
                    str(row["follows"]),
                    str(row["unit"]),
                    str(row["values"]),
                    with_interval(row, "pearson"),
                    number(row.get("spearman")),
                    number(row.get("label_spearman")),
                )
                for row in result.follows
            ),
            text_columns=3,
        ),
    ]


def _coverage(result: Judgement, files: Files) -> Section:
    shown = [row for row in result.coverage if row["nominal"] in (0.5, 0.9)]
    return Section(
        title="Doubt on held-out simulation",
        note="Share of labels inside the central interval that mos_std promises, over odd families: training sets its "
        "scale on the even ones.",
        pictures=_picture(files, "simulation_coverage.png"),
        headings=("unit", "promised", "inside", "values", "mean std", "RMS error"),
        rows=tuple(
            (
                str(row["unit"]),
                number(row["nominal"]),
                with_interval(row, "coverage"),
                str(row["values"]),
                number(row["mean_std"]),
                number(row["rms_error"]),
            )
            for row in shown
        ),
    )


def _causes(result: Judgement, files: Files) -> Section:
    return Section(
        title="Which damage explains a low score",
        note="F1 of each cause and their mean (macro), clip by clip. The baselines know no cause output.",
        pictures=_picture(files, "causes.png"),
        headings=("who", "cause", "clips", "called", "precision", "recall", "F1"),
        rows=tuple(
            (
                str(row["who"]),
                str(row["cause"]),
                str(row["clips"]),
                str(row["called"]),
                number(row.get("precision")),
                number(row.get("recall")),
                with_interval(row, "f1"),
            )
            for row in result.causes
        ),
        own=frozenset(k for k, row in enumerate(result.causes) if row["cause"] == causes.MACRO),
        text_columns=2,
    )


def _evidence(result: Judgement) -> Section:
    return Section(
        title="Evidence by cause",
        note="Mean truth of clips by their true cause. SNR and band edge as estimated have, against the truth, "
        + "; ".join(f"{row['evidence']} Pearson {with_interval(row, 'pearson')}" for row in result.estimates)
        + ".",
        headings=causes.EVIDENCE_COLUMNS,
        rows=tuple(
            tuple(
                number(row[name], "{:.0f}" if name == "bandwidth_hz" else "{:.2f}") for name in causes.EVIDENCE_COLUMNS
            )
            for row in result.evidence
        ),
    )


def _presence(result: Judgement) -> Section:
    return Section(
        title="Presence on held-out simulation",
        note="Windows that are rightly left unset, or rightly scored, by the speech threshold alone.",
        headings=("sound", "wanted", "right", "windows", "share"),
        rows=tuple(
            (
                str(row["sound"]),
                str(row["wanted"]),
                str(row["right_windows"]),
                str(row["windows"]),
                with_interval(row, "right_ratio", "{:.3f}"),
            )
            for row in result.presence
        ),
        text_columns=2,
    )


def _pooling(result: Judgement) -> Section:
    return Section(
        title="Rules that make one score of many seconds",
        note="Pearson with the label of the clip, and its gain over the product's rule (drawn together). None but the "
        "first ships. The last is fitted to labels: of other families, four times.",
        headings=("clips", "rule", "n", "Pearson", "gain", "RMSE after a line"),
        rows=tuple(
            (
                str(row["clips_of"]),
                str(row["rule"]),
                str(row["clips"]),
                with_interval(row, "pearson", "{:.3f}"),
                with_interval(row, "pearson_gain", "{:+.3f}"),
                number(row.get("rmse_after_line"), "{:.3f}"),
            )
            for row in result.pooling
        ),
        text_columns=2,
    )

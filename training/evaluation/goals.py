"""What the model is asked for, beside what it does: one line a goal, so that nobody has to look for the ones missed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from livemos.training.evaluation.figures import Row, tells_mos
from livemos.training.evaluation.output import plain
from livemos.training.evaluation.robustness import PRESENCE_GOAL, Robustness
from livemos.training.evaluation.simulation import dimensions
from livemos.training.evaluation.simulation.judgement import Judgement

GOAL_COLUMNS = ("goal", "where", "figure", "wanted", "got", "got_low", "got_high", "met")
LISTENERS = (  # set, unit, least Pearson of the mean over 1 s segments
    ("p835_wb16", "clip", 0.93),
    ("p835_fb48", "clip", 0.92),
    ("holub_ssqm", "clip", 0.92),
    ("p835_nb16", "condition", 0.97),
    ("codec_mushra", "clip", 0.35),
    ("codec_mushra", "condition", 0.95),
)
VOTES = (("bak", "noisiness_ungated", 0.88), ("sig", "speech_dimensions_ungated", 0.75))
SIMULATION_PEARSON = 0.93
COVERAGE_90 = (0.85, 0.95)
LOWERED = ("one 0.5 s gap", "echo 200 ms -10 dB", "clipped 5 %", "5 % zeroed", "hum 50 Hz 10 dB")
_WITH_REFERENCE = ("pesq", "visqol")


def goal_rows(figures: Sequence[Row], damaged: Robustness, simulated: Judgement) -> list[Row]:
    """Every goal that can be read off these results; sets that were not judged have no line."""
    return [
        *_listeners(figures),
        *_votes(figures),
        *_simulation(simulated),
        *_known(damaged),
        *_presence(damaged),
    ]


def _row(goal: str, where: str, figure: str, wanted: str, row: Row, name: str, met: bool) -> Row:
    ends = {f"got{end}": row.get(f"{name}{end}") for end in ("", "_low", "_high")}
    return {"goal": goal, "where": where, "figure": figure, "wanted": wanted, **ends, "met": met}


def _value(row: Row, name: str) -> float:
    return float("nan") if plain(row.get(name)) is None else float(str(row[name]))


def _listeners(figures: Sequence[Row]) -> Iterator[Row]:
    for name, unit, least in LISTENERS:
        of_unit = [row for row in figures if (row["set"], row["unit"], row["target"]) == (name, unit, "mos")]
        own = [row for row in of_unit if row["column"] == "mos_ungated"]
        peers = [
            row
            for row in of_unit
            if row["kind"] == "peer"
            and tells_mos(str(row["column"]))
            and not str(row["column"]).startswith(_WITH_REFERENCE)
            and plain(row.get("pearson")) is not None
        ]
        for row in own:
            where, got = f"{name}, {unit}", _value(row, "pearson")
            yield _row("follows listeners", where, "Pearson", f">= {least}", row, "pearson", got >= least)
            if peers:
                best = max(peers, key=lambda peer: _value(peer, "pearson"))
                wanted = f">= {_value(best, 'pearson'):.3f} ({best['column']})"
                met = got >= _value(best, "pearson")
                yield _row("not below the best public model", where, "Pearson", wanted, row, "pearson", met)


def _votes(figures: Sequence[Row]) -> Iterator[Row]:
    for target, column, least in VOTES:
        for row in figures:
            if (row["target"], row["column"]) == (target, column) and row["unit"] == "clip":
                where = f"{row['set']}, {target.upper()} and {column.removesuffix('_ungated')}"
                met = _value(row, "pearson") >= least
                yield _row("dimensions follow votes", where, "Pearson", f">= {least}", row, "pearson", met)


def _simulation(simulated: Judgement) -> Iterator[Row]:
    for row in simulated.clips:
        if row["column"] == "mos" and (row["group"] == "all" or row["name"] == "any of these"):
            where = "all" if row["group"] == "all" else "unseen generators and recordings"
            met = _value(row, "pearson") >= SIMULATION_PEARSON
            wanted = f">= {SIMULATION_PEARSON}"
            yield _row("follows labels of held-out simulation", where, "Pearson", wanted, row, "pearson", met)
    for row in dimensions.own_against_others(simulated.matrix):
        wanted = f"> {_value(row, 'largest_other_fall'):.2f} ({row['largest_other']})"
        figure = f"fall for {row['own_cause']}"
        met = bool(row["others_move_less"])
        yield _row("moves more for its own cause", str(row["dimension"]), figure, wanted, row, "own_fall", met)
    low, high = COVERAGE_90
    for row in simulated.coverage:
        if row["nominal"] == 0.9:
            met = low <= _value(row, "coverage") <= high
            where = f"held-out simulation, {row['unit']}"
            yield _row("doubt is honest", where, "inside 90 %", f"{low} to {high}", row, "coverage", met)


def _known(damaged: Robustness) -> Iterator[Row]:
    for row in damaged.ladder:
        if row["damage"] in LOWERED:
            met = _value(row, "mos_high") < 0
            yield _row("known damage lowers the score", str(row["damage"]), "change of MOS", "< 0", row, "mos", met)


def _presence(damaged: Robustness) -> Iterator[Row]:
    for row in damaged.presence:
        if row["sound"] != "speech, clean":
            goal = f"{row['wanted']} where it must be"
            wanted, met = f">= {PRESENCE_GOAL}", bool(row["goal_met"])
            yield _row(goal, str(row["sound"]), "share of segments", wanted, row, "right_ratio", met)

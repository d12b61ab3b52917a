from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from livemos.training.evaluation import evaluation, goals


def _figure(
    name: str, unit: str, column: str, pearson: float | None, target: str = "mos", kind: str = "livemos"
) -> Any:
    return {"set": name, "unit": unit, "column": column, "target": target, "kind": kind, "pearson": pearson}


FIGURES = [
    _figure("p835_wb16", "clip", "mos", 0.99),
    _figure("p835_wb16", "clip", "mos_ungated", 0.94),
    _figure("p835_wb16", "clip", "nisqa_mos", 0.92, kind="peer"),
    _figure("p835_wb16", "clip", "pesq_wb", 0.99, kind="peer"),
    _figure("p835_wb16", "clip", "nisqa_noi", 0.98, kind="peer"),
    _figure("p835_wb16", "clip", "noisiness_ungated", 0.87, target="bak"),
    _figure("p835_wb16", "clip", "speech_dimensions_ungated", 0.75, target="sig"),
    _figure("holub_ssqm", "clip", "mos_ungated", 0.91),
    _figure("holub_ssqm", "clip", "cs22_b2_1s", 0.95, kind="peer"),
]
FALLS = {"noisiness": (1.5, 0.2), "coloration": (1.0, 1.1)}  # own cause, reverberation
SIMULATED = SimpleNamespace(
    clips=[
        {"group": "all", "name": "all", "column": "mos", "pearson": 0.931},
        {"group": "all", "name": "all", "column": "mos_plain", "pearson": 0.5},
        {"group": "unseen", "name": "any of these", "column": "mos", "pearson": 0.929},
    ],
    matrix=[
        {"dimension": dimension, "cause": cause, "fall": fall}
        for dimension, own in (("noisiness", "noise"), ("coloration", "band"))
        for cause, fall in zip((own, "reverberation"), FALLS[dimension], strict=True)
    ],
    coverage=[
        {"unit": "clip", "nominal": 0.9, "coverage": 0.951},
        {"unit": "window", "nominal": 0.9, "coverage": 0.949},
        {"unit": "window", "nominal": 0.5, "coverage": 0.5},
    ],
)
DAMAGED = SimpleNamespace(
    ladder=[
        {"damage": "one 0.5 s gap", "mos": -0.1, "mos_low": -0.2, "mos_high": 0.01},
        {"damage": "clipped 5 %", "mos": -0.5, "mos_low": -0.6, "mos_high": -0.4},
        {"damage": "7 kHz band", "mos": 0.1, "mos_low": 0.0, "mos_high": 0.2},
    ],
    presence=[
        {"sound": "busy tone", "wanted": "unset", "right_ratio": 0.2, "goal_met": False},
        {"sound": "speech, clean", "wanted": "scored", "right_ratio": 0.9, "goal_met": False},
        {"sound": "speech, white noise 5 dB", "wanted": "scored", "right_ratio": 0.97, "goal_met": True},
    ],
)


def _met() -> dict[tuple[str, str], bool]:
    rows = goals.goal_rows(FIGURES, DAMAGED, SIMULATED)  # type: ignore[arg-type]
    return {(str(row["goal"]), str(row["where"])): bool(row["met"]) for row in rows}


def test_listeners_are_followed_by_the_plain_mean_of_all_seconds_and_beside_the_best_that_needs_no_reference() -> None:
    """The goal is about the mean of 1 s segments; the gated mean, PESQ and a dimension answer other questions."""
    met = _met()
    assert met["follows listeners", "p835_wb16, clip"] and met["not below the best public model", "p835_wb16, clip"]
    assert not met["follows listeners", "holub_ssqm, clip"], "0.91 is not 0.92"
    assert not met["not below the best public model", "holub_ssqm, clip"]
    assert not met["dimensions follow votes", "p835_wb16, BAK and noisiness"]
    assert met["dimensions follow votes", "p835_wb16, SIG and speech_dimensions"]
    assert not any("p835_fb48" in where for _, where in met), "a set that was not judged has no line"


def test_goals_on_simulation_and_known_damage_are_read_off_their_own_figures() -> None:
    """Each limit on its own side: 0.931 passes where 0.929 does not, and too wide is as wrong as too narrow."""
    met = _met()
    simulation = "follows labels of held-out simulation"
    assert met[simulation, "all"] and not met[simulation, "unseen generators and recordings"]
    assert met["moves more for its own cause", "noisiness"] and not met["moves more for its own cause", "coloration"]
    assert met["doubt is honest", "held-out simulation, window"]
    assert not met["doubt is honest", "held-out simulation, clip"]
    known = {where: fine for (goal, where), fine in met.items() if goal == "known damage lowers the score"}
    assert known == {"one 0.5 s gap": False, "clipped 5 %": True}, "all of the interval below nought"
    assert not met["unset where it must be", "busy tone"]
    assert met["scored where it must be", "speech, white noise 5 dB"]
    assert ("scored where it must be", "speech, clean") not in met


def test_the_section_counts_and_brings_out_what_was_missed() -> None:
    """A reader must not have to hunt for the bad news."""
    rows = goals.goal_rows(FIGURES, DAMAGED, SIMULATED)  # type: ignore[arg-type]
    section = evaluation.goal_section(rows)
    missed = [k for k, row in enumerate(rows) if not row["met"]]
    assert section.own == frozenset(missed) and section.note.startswith(f"{len(rows) - len(missed)} of {len(rows)} met")
    assert all(section.rows[k][-1] == "no" for k in missed)

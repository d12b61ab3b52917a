from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from livemos.agent.bundle import load_bundle
from livemos.agent.engine import make_engine
from livemos.agent.errors import ConfigError
from livemos.agent.records import STRIDE_SAMPLES, SegmentScore
from livemos.agent.scorer import clip_score
from livemos.training.causes import find_causes
from livemos.training.damages import DAMAGES
from livemos.training.evaluation.command import app
from livemos.training.evaluation.simulation import causes, dimensions, figures, heldout, judgement, pooling
from livemos.training.evaluation.simulation.grouped import Sums, figures_of, ratio
from livemos.training.evaluation.simulation.heldout import CAUSE_NAMES, Heldout
from livemos.training.labels import noisiness
from livemos.training.simulator import WINDOWS

UNSEEN = next(name for name, kind in DAMAGES.items() if kind.held_out and kind.cause == "loss")


@pytest.fixture(scope="module")
def judged(work_folder: Path) -> Heldout:
    return heldout.read_heldout(work_folder, None, lambda clips: None)


def _with_scores(table: Heldout, name: str, values: np.ndarray) -> Heldout:
    return replace(table, scores=table.scores | {name: values})


def test_the_command_judges_a_table_and_leaves_tables_pictures_and_a_report(work_folder: Path, tmp_path: Path) -> None:
    """The product: figures on stdout for programs, and one report for people."""
    arguments = ["simulation", "--work", str(work_folder), "--out", str(tmp_path), "--resamples", "60"]
    result = CliRunner().invoke(app, [*arguments, "--format", "csv"], catch_exceptions=False)
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(result.stdout)) if row["group"] != "ladder"}
    assert int(rows["all"]["clips"]) == 48 and int(rows["noise"]["families"]) == 6
    assert float(rows["all"]["pearson"]) > 0.8, "noise and loss are what the packaged model knows best"
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert report.count("data:image/png;base64,") == 5 and "Severity ladders" in report
    for name in ("simulation", "simulation_order", "dimensions", "causes", "simulation_coverage"):
        assert len((tmp_path / f"{name}.csv").read_text(encoding="utf-8").splitlines()) > 2, name
        assert (tmp_path / f"{name}.png").exists() or name == "simulation_order"


def test_a_clip_is_pooled_as_the_product_pools_it(judged: Heldout) -> None:
    """What is judged must be the score a user gets, also where a clip holds too little speech for one."""
    rng = np.random.default_rng(0)
    speech = rng.uniform(0, 1, (30, WINDOWS)) * rng.choice([0.05, 1.0], (30, 1))
    speech[:3] = 0.0
    speech[0, 4] = speech[1, 0] = 0.7  # half a second of speech is just enough, and only at an end it counts so far
    mos, std, passed = rng.uniform(1, 5, (30, WINDOWS)), rng.uniform(0.2, 1, (30, WINDOWS)), speech >= 0.3
    weight = heldout.pooling_weights(speech, passed)
    refused = 0
    for row in range(30):
        segments = [
            SegmentScore(
                source_id="",
                segment_index=k,
                start_sample=k * STRIDE_SAMPLES,
                start_unix_seconds=0.0,
                ready_unix_seconds=0.0,
                speech_ratio=speech[row, k],
                **(dict.fromkeys(heldout.DIMENSIONS, mos[row, k]) | {"mos_std": std[row, k]} if passed[row, k] else {}),
            )
            for k in range(WINDOWS)
        ]
        product = clip_score(segments, 7.0, 16_000, "", error_correlation=0.4)
        refused += product.mos is None
        if product.mos is None:
            assert not weight[row].any()
        else:
            assert np.average(mos[row], weights=weight[row]) == pytest.approx(product.mos)
            said = heldout.pooled_std(std[row : row + 1], weight[row : row + 1], 0.4)
            assert said[0] == pytest.approx(product.mos_std)
    assert 0 < refused < 30
    whole = heldout.pooling_weights(judged.outputs["speech_ratio"], judged.passed)[5]
    assert judged.scores["mos"][5] == pytest.approx(np.average(judged.outputs["mos"][5], weights=whole))
    told = load_bundle().manifest.error_correlation
    assert judged.mos_std[5] == pytest.approx(heldout.pooled_std(judged.outputs["mos_std"][5:6], whole[None], told)[0])


def test_windows_are_cut_from_the_table_where_the_agent_cuts_them(judged: Heldout, work_folder: Path) -> None:
    """A window off by a frame would hold another second than its label."""
    features = np.load(work_folder / "val" / "00000.features.npy")
    loaded = load_bundle()
    third = features[5][100:198].astype(np.float32)  # 1.0 s to 2.0 s of the clip
    answers = make_engine("onnxruntime", loaded).score(third[None])[0]
    assert judged.outputs["mos"][5, 2] == pytest.approx(float(answers[loaded.manifest.column("mos")]), abs=1e-4)
    assert judged.outputs["mos"].shape == (52, WINDOWS)


def test_a_step_against_the_label_breaks_its_ladder_and_no_other(judged: Heldout) -> None:
    """In order means: falls where the label falls, and rises where it rises."""
    perfect = _with_scores(judged, "mos", judged.truth.mos.copy())
    rows = {(row["group"], row["name"]): row for row in figures.order_rows(perfect, {}, 50)}
    assert rows["all", "all"]["falling_ratio"] == 1.0 and rows["all", "all"]["ladders"] == 12
    swapped = judged.truth.mos.copy()
    swapped[[1, 2]] = swapped[[2, 1]]  # of the first family, a noise ladder
    rows = {(r["group"], r["name"]): r for r in figures.order_rows(_with_scores(judged, "mos", swapped), {}, 50)}
    assert rows["ladder", "noise"]["falling_ratio"] == pytest.approx(5 / 6)
    assert rows["ladder", "noise"]["right_ratio"] == pytest.approx(17 / 18)
    assert rows["ladder", UNSEEN]["falling_ratio"] == 1.0
    rising = replace(perfect, truth=replace(judged.truth, mos=-judged.truth.mos))
    assert next(iter(figures.order_rows(rising, {}, 50)))["right_ratio"] == 0.0


def test_unset_clips_are_left_out_and_counted(judged: Heldout) -> None:
    """A model that refuses its hard clips must not look better for it unnoticed."""
    mos = judged.scores["mos"].copy()
    mos[3] = np.nan
    row = next(iter(figures.clip_rows(_with_scores(judged, "mos", mos), {}, 50)))
    assert (row["clips"], row["unset"]) == (47, 1)
    order = next(iter(figures.order_rows(_with_scores(judged, "mos", mos), {}, 50)))
    assert order["unset_steps"] == 1


def test_what_training_never_heard_is_judged_apart(judged: Heldout) -> None:
    """Held-out generators and recordings are the only proof that a model did not learn the simulator by heart."""
    repositories = {"noise/k20.flac": "marc-moreaux/kitchen20"}
    named = {name: inside for group, name, inside in figures.groups(judged, repositories) if group == "unseen"}
    assert named[UNSEEN].sum() == 24, "member 0 belongs to its ladder"
    assert named["noise of kitchen20"].sum() == 18
    assert named["any of these"].sum() == 42 and named["none of these"].sum() == 6
    without = {name for group, name, _ in figures.groups(judged, {}) if group == "unseen"}
    assert "noise of kitchen20" not in without


def test_the_interval_of_doubt_is_counted_as_promised(judged: Heldout) -> None:
    """90 % has to mean 90 %, for clips and for seconds."""
    rng = np.random.default_rng(1)
    truth = judged.truth.windows["mos"]
    std = rng.uniform(0.2, 0.8, truth.shape)
    honest = replace(
        judged,
        outputs=judged.outputs | {"mos": truth + std * rng.standard_normal(truth.shape), "mos_std": std},
        passed=np.ones_like(judged.passed),
    )
    kept = {(row["unit"], row["nominal"]): row["coverage"] for row in figures.coverage_rows(honest, 50)}
    assert kept["window", 0.9] == pytest.approx(0.9, abs=0.04) and kept["window", 0.5] == pytest.approx(0.5, abs=0.06)
    even = (judged.families % 2 == 0)[:, None]
    calibrated = replace(honest, outputs=honest.outputs | {"mos_std": np.where(even, 9.0, std)})
    apart = {(row["unit"], row["nominal"]): row["coverage"] for row in figures.coverage_rows(calibrated, 50)}
    assert apart["window", 0.9] == kept["window", 0.9], "families that set the scale of the doubt do not judge it"
    proud = replace(honest, outputs=honest.outputs | {"mos_std": std / 3})
    kept = {(row["unit"], row["nominal"]): row["coverage"] for row in figures.coverage_rows(proud, 50)}
    assert float(str(kept["window", 0.9])) < 0.6


def test_a_dimension_that_moves_for_its_cause_alone_shows_so_in_the_matrix(judged: Heldout) -> None:
    """The matrix is the claim that dimensions mean what they say; it must tell a good one from a mixed-up one."""
    severity = judged.member / 3
    noise, loss = severity * (judged.ladder == "noise"), severity * (judged.ladder == UNSEEN)
    table = _with_scores(_with_scores(judged, "noisiness", 4.5 - 3 * noise), "discontinuity", 4.5 - 3 * noise - loss)
    rows = list(dimensions.matrix_rows(table, 50))
    fall = {(row["dimension"], row["cause"]): row["fall"] for row in rows if row["pairs"]}
    assert fall["noisiness", "noise"] == pytest.approx(2.5) and fall["noisiness", "loss"] == pytest.approx(0.0)
    by_hand: list[dict[str, object]] = [
        {"dimension": "loudness", "cause": cause, "fall": fall}
        for cause, fall in (("level", 1.0), ("noise", 0.1), ("loss", 1.2), ("band", 0.3), ("codec", None))
    ]
    (loudness,) = dimensions.own_against_others(by_hand)
    assert (loudness["largest_other"], loudness["others_move_less"]) == ("loss", False)
    verdict = {row["dimension"]: row for row in dimensions.own_against_others(rows)}
    assert verdict["noisiness"]["others_move_less"] is True
    assert verdict["discontinuity"]["others_move_less"] is False
    assert verdict["discontinuity"]["largest_other"] == "noise"


def test_a_dimension_follows_what_it_is_named_for(judged: Heldout) -> None:
    """Noisiness must rise with the SNR of the second, or the name is wrong; on white noise the packaged model does."""
    rows = {(row["dimension"], row["follows"], row["unit"]): row for row in dimensions.follows_rows(judged, 50)}
    assert float(str(rows["noisiness", "SNR", "window"]["spearman"])) > 0.5
    assert rows["noisiness", "SNR", "window"]["label_spearman"] == pytest.approx(1.0, abs=0.01)
    upside_down = replace(judged, outputs=judged.outputs | {"noisiness": -judged.outputs["noisiness"]})
    row = next(iter(dimensions.follows_rows(upside_down, 50)))
    assert row["spearman"] == pytest.approx(-float(str(rows["noisiness", "SNR", "window"]["spearman"])))


def test_causes_are_read_by_name_and_judged_by_f1(judged: Heldout) -> None:
    """A bundle without a cause output is judged all the same; one with it, whatever the order of its columns."""
    without = {name: values for name, values in judged.outputs.items() if not name.startswith("cause_")}
    assert set(causes.cause_table(replace(judged, outputs=without)).said) == {"lowest dimension", "most frequent"}
    true = find_causes(judged.columns).cause
    assert {CAUSE_NAMES[k] for k in true[judged.ladder != ""]} == {"noise", "loss", "none"}
    told = {
        f"cause_{name}": np.repeat((true == k)[:, None], WINDOWS, axis=1) * 1.0 for k, name in enumerate(CAUSE_NAMES)
    }
    table = causes.cause_table(replace(judged, outputs=judged.outputs | dict(reversed(told.items()))))
    rows = {row["cause"]: row for row in causes.cause_rows(table, 50) if row["who"] == "livemos"}
    assert rows["macro"]["f1"] == 1.0 and set(rows) == {"macro", "noise", "loss", "none"}
    # now every loss is called noise: F1 of loss 0, of noise 2 right / (true + called)
    noise, loss = CAUSE_NAMES.index("noise"), CAUSE_NAMES.index("loss")
    wrong = replace(table, said={"livemos": np.where(table.true == loss, noise, table.true)})
    rows = {row["cause"]: row for row in causes.cause_rows(wrong, 50)}
    right, called = int((table.true == noise).sum()), int(np.isin(table.true, (noise, loss)).sum())
    assert rows["loss"]["f1"] == 0.0 and rows["noise"]["f1"] == pytest.approx(2 * right / (right + called))
    assert rows["macro"]["f1"] == pytest.approx((rows["noise"]["f1"] + 1.0) / 3)
    assert wrong.confusion("livemos")[loss, noise] == (table.true == loss).sum()


def test_evidence_that_is_estimated_is_held_against_the_truth(judged: Heldout) -> None:
    """The SNR shown beside a cause has a unit; said 10 dB too high, it must show as 10 dB of bias."""
    table = causes.cause_table(judged)
    truth = np.asarray(table.evidence.snr_db, float)
    said = _with_scores(judged, "noisiness", noisiness(-truth - 10.0))
    rows = {row["evidence"]: row for row in causes.estimate_rows(said, table, 50)}
    assert rows["snr_db"]["bias"] == pytest.approx(10.0, abs=0.01)
    assert int(str(rows["snr_db"]["clips"])) == int((truth[table.clips] + 10.0 <= 40.0).sum()) > 0
    by_cause = {row["cause"]: row for row in causes.evidence_rows(judged, table)}
    assert float(str(by_cause["noise"]["snr_db"])) < 20 < float(str(by_cause["loss"]["snr_db"]))
    assert float(str(by_cause["loss"]["concealed_ratio"])) > 0.05


def test_presence_counts_windows_of_the_right_kind(judged: Heldout) -> None:
    """Noise that is scored and speech that is not are different faults; each is counted against its own windows."""
    passed = judged.ladder[:, None] != np.full(WINDOWS, "")
    passed[48, :3] = True  # three windows of noise taken for speech
    passed[0, :2] = False  # two of speech refused
    rows = {row["sound"]: row for row in figures.presence_rows(replace(judged, passed=passed), 50)}
    assert rows["all without speech"]["right_windows"] == 4 * WINDOWS - 3
    assert rows["recorded"]["windows"] == 4 * WINDOWS
    assert rows["all speech"]["right_windows"] == 48 * WINDOWS - 2


def test_intervals_draw_families_and_figures_are_those_of_all_values() -> None:
    """Four clips of one voice are one piece of luck: their interval must be that of one value, not of four."""
    rng = np.random.default_rng(2)
    labels, families = rng.uniform(1, 5, 200), np.arange(200)
    scores = labels + rng.normal(0, 0.5, 200)
    once = Sums.of(scores, labels, families).row(400)
    assert once["pearson"] == pytest.approx(np.corrcoef(scores, labels)[0, 1])
    assert once["rmse"] == pytest.approx(np.sqrt(np.mean((scores - labels) ** 2)))
    assert once["bias"] == pytest.approx((scores - labels).mean())
    repeated = Sums.of(np.repeat(scores, 4), np.repeat(labels, 4), np.repeat(families, 4)).row(400)
    assert repeated == {name: pytest.approx(value) for name, value in once.items()}
    assert once["bias_high"] - once["bias_low"] == pytest.approx(4 * 0.5 / np.sqrt(200), rel=0.25)
    share = figures_of(np.array([[2.0, 1.0], [2.0, 2.0]]), {"share": ratio}, 50)
    assert (share["share"], share["share_low"], share["share_high"]) == (0.75, 0.5, 1.0)


def test_a_rule_of_pooling_is_held_against_the_products_own(judged: Heldout) -> None:
    """A gain is one over the rule that ships, on the same clips; a fitted rule may not see the clips it answers."""
    rng = np.random.default_rng(4)
    mos = rng.uniform(1, 5, judged.outputs["mos"].shape)
    speech, std = np.full(mos.shape, 0.8), np.full(mos.shape, 0.5)
    table = replace(
        judged,
        outputs=judged.outputs | {"mos": mos, "speech_ratio": speech, "mos_std": std},
        passed=np.ones_like(judged.passed),
        truth=replace(judged.truth, mos=np.where(judged.ladder == "", np.nan, mos.min(axis=1))),
    )
    rows = {(row["rule"], row["clips_of"]): row for row in pooling.pooling_rows(table, 50)}
    assert rows["minimum", "all ladders"]["pearson"] == pytest.approx(1.0)
    product = float(str(rows["speech-weighted mean", "all ladders"]["pearson"]))
    assert rows["minimum", "all ladders"]["pearson_gain"] == pytest.approx(1.0 - product)
    assert rows["speech-weighted mean", "local damage"]["pearson_gain"] == pytest.approx(0.0)
    assert float(str(rows[pooling.FITTED, "all ladders"]["pearson_gain"])) > 0.05, "it can learn to lean on the worst"
    blind = np.where(judged.families == 0, 5.0, table.truth.mos)
    other = pooling.fitted_attention(replace(table, truth=replace(table.truth, mos=blind)), speech)
    same = judged.families % 4 == 0
    np.testing.assert_array_equal(other[same], pooling.fitted_attention(table, speech)[same])


def test_a_share_of_the_worst_windows_is_that_share() -> None:
    """Half of four equal windows is two."""
    mos, weight = np.array([[4.0, 1.0, 3.0, 2.0]]), np.ones((1, 4))
    assert pooling.RULES["worst half"](mos, weight, weight)[0] == pytest.approx(1.5)
    assert pooling.RULES["worst quarter"](mos, weight, weight)[0] == pytest.approx(1.0)
    weight[0, 1] = 3.0  # more than a quarter of all speech lies in the worst window: it is the quarter
    assert pooling.RULES["worst quarter"](mos, weight, weight)[0] == pytest.approx(1.0)
    weight[0, 1] = 0.0
    assert pooling.RULES["minimum"](mos, weight, weight)[0] == pytest.approx(2.0)


def test_a_folder_without_a_table_says_what_makes_one(tmp_path: Path) -> None:
    """The way out is a command, not a traceback."""
    with pytest.raises(ConfigError, match="livemos train label"):
        CliRunner().invoke(app, ["simulation", "--work", str(tmp_path)], catch_exceptions=False)


def test_the_judgement_holds_every_table_of_the_report(judged: Heldout) -> None:
    """Sections are built from rows that may be few: a small table must not break the report."""
    result = judgement.judge(judged, {}, 50)
    sections = judgement.sections_of(result, defaultdict(bytes))
    assert len({section.title for section in sections}) == len(sections) >= 10
    assert all(len(row) == len(section.headings) for section in sections for row in section.rows)

"""What a millisecond buys, put together from results that were kept."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from livemos.agent.errors import ConfigError
from livemos.training.evaluation.command import app
from livemos.training.evaluation.curve import SETS, curve_rows


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Path, list[Path]]:
    """Two bundles and a public model, timed (one of them twice) and judged."""
    timed = [
        ("livemos-small 1.0", "livemos", "fp32", 1, 9.0),
        ("livemos-small 1.0", "livemos", "fp32", 1, 0.5),
        ("livemos-small 1.0", "livemos", "int8", 1, 0.1),
        ("livemos-small 1.0", "livemos", "fp32", 16, 0.2),
        ("livemos-small 1.0, features alone", "part", "fp32", 1, 0.15),
        ("livemos-large 1.0", "livemos", "fp32", 1, 1.5),
        ("NISQA v2", "peer", "fp32", 1, 8.0),
        ("never judged", "peer", "fp32", 1, 1.0),
    ]
    names = ("model", "kind", "precision", "batch", "cpu_ms")
    speed = tmp_path / "speed.jsonl"
    speed.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in timed))
    folders = [tmp_path / "livemos-small-1.0", tmp_path / "livemos-large-1.0"]
    for folder, own in zip(folders, (0.7, 0.9), strict=True):
        folder.mkdir()
        lines = ["set,unit,target,column,pearson"]
        for k, name in enumerate(SETS):
            lines += [f"{name},clip,mos,mos_ungated,{own + 0.01 * k}", f"{name},clip,mos,nisqa_mos_1s,0.8"]
            lines += [f"{name},clip,bak,mos_ungated,0.1", f"{name},condition,mos,mos_ungated,0.2"]
        (folder / "figures.csv").write_text("\n".join(lines) + "\n")
    return speed, folders


def test_each_model_that_was_timed_and_judged_is_one_point(kept: tuple[Path, list[Path]], tmp_path: Path) -> None:
    """The latest time counts, of whole clips against MOS, at the batch that was asked for, in float32."""
    speed, folders = kept
    arguments = ["curve", "--speed", str(speed), "--out", str(tmp_path / "out")]
    for folder in folders:
        arguments += ["--judged", str(folder)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(row["model"], row["kind"], row["cpu_ms"], row["pearson"]) for row in rows] == [
        ("livemos-small-1.0", "livemos", "0.5", "0.71"),
        ("livemos-large-1.0", "livemos", "1.5", "0.91"),
        ("NISQA v2", "peer", "8.0", "0.8"),
    ]
    assert rows[0][SETS[2]] == "0.72"
    assert (tmp_path / "out" / "curve.csv").read_text() == result.stdout
    assert (tmp_path / "out" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert [row["cpu_ms"] for row in curve_rows(speed, folders, 16)] == [0.2]


def test_results_that_are_missing_are_named(kept: tuple[Path, list[Path]], tmp_path: Path) -> None:
    """Which of the two has to be made first is the whole question."""
    speed, folders = kept
    with pytest.raises(ConfigError, match=r"times none of livemos-small-1\.0 at batch 64; run `livemos bench model`"):
        curve_rows(speed, folders[:1], 64)
    with pytest.raises(ConfigError, match=r"none\.jsonl: no rows of `livemos bench model"):
        curve_rows(tmp_path / "none.jsonl", folders, 1)
    (folders[0] / "figures.csv").unlink()
    with pytest.raises(ConfigError, match=r"figures\.csv: no figures of `livemos evaluate all"):
        curve_rows(speed, folders, 1)


def test_a_model_without_a_correlation_is_left_out(kept: tuple[Path, list[Path]]) -> None:
    """Scores that do not vary leave the cell empty; the other models still have their points."""
    speed, folders = kept
    file = folders[0] / "figures.csv"
    file.write_text(
        file.read_text().replace(f"{SETS[1]},clip,mos,nisqa_mos_1s,0.8", f"{SETS[1]},clip,mos,nisqa_mos_1s,")
    )
    assert [row["model"] for row in curve_rows(speed, folders, 1)] == ["livemos-small-1.0", "livemos-large-1.0"]

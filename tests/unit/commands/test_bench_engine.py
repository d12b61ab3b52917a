"""`livemos bench engine`: rows that can be compared, because all engines met the same moments."""

from __future__ import annotations

import csv
import json
import os
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from livemos.agent.bundle import load_bundle
from livemos.agent.commands.bench import app
from livemos.agent.commands.bench_engine import BASELINE, COLUMNS, load_engines, measure
from livemos.agent.engine.base import Features


def test_piped_rows_have_the_promised_columns_and_a_ratio_to_onnx_runtime(tmp_path: Path) -> None:
    """A figure without the baseline of the same run says nothing about another machine."""
    results, before = tmp_path / "rows.jsonl", os.sched_getaffinity(0)
    arguments = ["engine", "--engines", "onnxruntime,constant", "--batches", "1,4", "--seconds", "0.1"]
    ran = CliRunner().invoke(app, [*arguments, "--results", str(results)])
    assert ran.exit_code == 0, ran.output
    rows = list(csv.DictReader(ran.stdout.splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["engine"], row["batch"]) for row in rows] == [
        ("onnxruntime", "1"), ("onnxruntime", "4"), ("constant", "1"), ("constant", "4"),
    ]  # fmt: skip
    baseline = [float(row["ratio_to_onnxruntime"]) for row in rows[:2]]
    assert max(baseline) == 1.0
    for row in rows:
        rate = float(row["segments_per_second"])
        if row["engine"] == "onnxruntime":  # the other is done before the last printed digit
            assert float(row["ms_per_segment"]) * rate == pytest.approx(1_000.0, rel=0.01)
        assert int(row["streams_at_half_second"]) == int(rate / 2)
        assert float(row["call_p99_ms"]) >= float(row["call_p50_ms"])
    kept = [json.loads(line) for line in results.read_text().splitlines()]
    assert os.sched_getaffinity(0) == before
    assert [line["benchmark"] for line in kept] == ["engine"] * 4
    assert kept[0]["environment"]["onnxruntime"]


def test_an_engine_that_cannot_run_is_named_and_the_others_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """Most machines lack an extra, a GPU or a graph of that precision."""
    engines = load_engines(["constant", "onnxruntime/fp8"], load_bundle())
    assert list(engines) == [BASELINE, "constant/fp32"]
    assert "onnxruntime/fp8 is left out: " in capsys.readouterr().err


def test_a_mistyped_engine_or_batch_is_refused() -> None:
    """A misspelt name must not become a table without it."""
    for arguments in (["--engines", "onyxruntime"], ["--batches", "many"]):
        ran = CliRunner().invoke(app, ["engine", *arguments])
        assert ran.exit_code != 0
        assert "onyxruntime" in str(ran.exception) or "many" in str(ran.exception)


def test_engines_take_turns() -> None:
    """One after the other, a busy minute would look like a slow engine."""
    bundle = load_bundle()
    asked: list[str] = []
    engines = load_engines(["constant"], bundle)
    for name, engine in engines.items():

        def score(features: Features, name: str = name, real: object = engine.score) -> object:
            asked.append(name)
            return real(features)  # type: ignore[operator]

        engine.score = score  # type: ignore[method-assign]
    measure(engines, bundle, [1], 0.0)
    changes = sum(first != second for first, second in pairwise(asked))
    assert changes >= 2 * 5 - 1

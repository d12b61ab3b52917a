from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from livemos.agent.bundle import load_bundle
from livemos.agent.errors import ConfigError
from livemos.training.evaluation.speed.command import model
from livemos.training.evaluation.speed.contenders import Contender, bundle_contenders, peer_contenders
from livemos.training.evaluation.speed.measure import measure, pinned, segments_of


class _Time:
    """A wall clock and a processor clock that move only when somebody works, in place of the module `time`."""

    def __init__(self) -> None:
        self.wall, self.processor = 100.0, 7.0

    def perf_counter(self) -> float:
        return self.wall

    def process_time(self) -> float:
        return self.processor

    def work(self, wall: float, processor: float) -> None:
        self.wall, self.processor = self.wall + wall, self.processor + processor


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Time:
    made = _Time()
    monkeypatch.setattr("livemos.training.evaluation.speed.measure.time", made)
    return made


def _busy(clock: _Time, seconds: float, heard: list[int]) -> Contender:
    def score(segments: np.ndarray) -> None:
        heard.append(len(segments))
        clock.work(seconds, seconds)

    return Contender(name=f"{seconds}", kind="peer", precision="fp32", score=score)


def test_milliseconds_are_those_of_a_segment_and_ratios_those_of_the_first(clock: _Time) -> None:
    """A figure per call instead of per segment would make a batch of 16 look slow."""
    heard: list[int] = []
    contenders = [_busy(clock, 0.004, heard), _busy(clock, 0.012, [])]
    rows = {(row["model"], row["batch"]): row for row in measure(contenders, [1, 4], 0.05, int)}
    assert rows["0.004", 1]["cpu_ms"] == pytest.approx(4.0)
    assert rows["0.004", 4]["cpu_ms"] == pytest.approx(1.0) and set(heard) == {1, 4}
    assert rows["0.012", 4]["times_livemos"] == pytest.approx(3.0) and rows["0.004", 1]["times_livemos"] == 1.0
    assert rows["0.012", 1]["wall_ms_min"] == pytest.approx(12.0)


def test_a_model_that_waits_costs_wall_time_and_no_processor(clock: _Time) -> None:
    """The share of a core is what a user pays; both are shown because a busy machine moves one and not the other."""
    waiting = Contender(name="w", kind="peer", precision="fp32", score=lambda segments: clock.work(0.02, 0.001))
    (row,) = measure([waiting], [1], 0.0, int)
    assert row["wall_ms"] == pytest.approx(20.0) and row["cpu_ms"] == pytest.approx(1.0) and row["calls"] == 3


def test_the_whole_path_of_the_bundle_is_timed_from_samples_to_scores() -> None:
    """Features left out, or segments that the gate refuses, would flatter the figure."""
    running = list(bundle_contenders(None))
    assert [each.kind for each in running] == ["livemos"] * len(load_bundle().manifest.graph_files()) + ["part"]
    answer = running[0].score(segments_of(3))
    assert np.isfinite(answer.values[:, 0]).any() or {str(r) for r in answer.reasons} == {"Reason.NO_SPEECH"}  # type: ignore[attr-defined]
    assert np.isfinite(answer.bandwidth_hz).all(), "the network was asked for every segment"  # type: ignore[attr-defined]
    assert running[-1].score(segments_of(2)).shape == (2, 98, 64)  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_the_process_is_on_one_core_while_it_is_measured_and_free_after() -> None:
    """Two cores would halve the wall time of some and not of others."""
    before = os.sched_getaffinity(0)
    with pinned(min(before)):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


def test_the_command_prints_rows_and_keeps_them_with_the_machine(tmp_path: Path) -> None:
    """A figure without its machine is hearsay."""
    app = typer.Typer()
    app.command()(model)
    file = tmp_path / "speed.jsonl"
    core = str(min(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else "0"
    arguments = ["--batch", "1,2", "--seconds", "0", "--results", str(file), "--format", "csv", "--core", core]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    printed = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {row["batch"] for row in printed} == {"1", "2"} and {row["kind"] for row in printed} == {"livemos", "part"}
    kept = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(kept) == len(printed) and kept[0]["machine"]["processor"] and kept[0]["machine"]["onnxruntime"]
    with pytest.raises(ConfigError, match="whole numbers"):
        CliRunner().invoke(app, ["--batch", "0"], catch_exceptions=False)


def test_a_folder_without_public_models_says_which_files_it_wanted(tmp_path: Path) -> None:
    """An empty comparison must not pass for one."""
    with pytest.raises(ConfigError, match=r"nisqa_v2\.pt.*--peers"):
        list(peer_contenders(tmp_path))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
@pytest.mark.parametrize("core", [-1, 99_999])
def test_a_core_that_is_not_there_is_refused_with_those_that_are(core: int) -> None:
    """The flag's default fits one machine; on another the message has to say what does."""
    before = os.sched_getaffinity(0)
    with pytest.raises(ConfigError, match=rf"--core {core}: .* choose one of {min(before)}"), pinned(core):
        pass
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("batch", ["1,16x", "1,,2", "", "1,0"])
def test_a_batch_that_is_no_number_is_not_left_out_quietly(batch: str) -> None:
    """A run without the batch that was asked for looks complete."""
    app = typer.Typer()
    app.command()(model)
    with pytest.raises(ConfigError, match="whole numbers"):
        CliRunner().invoke(app, ["--batch", batch, "--seconds", "0"], catch_exceptions=False)

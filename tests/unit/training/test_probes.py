"""The probes hear what they claim to hear."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from livemos.training.command import app
from livemos.training.models.base import OUTPUTS
from livemos.training.probe_report import write_csv
from livemos.training.probes import ORDERS, ProbeResult, probe


def floor_scorer(features: np.ndarray) -> np.ndarray:
    """A stand-in for a model: the quieter the quietest tenth of a segment, the better; all of it counts as speech."""
    outputs = np.full((len(features), len(OUTPUTS)), 0.9, np.float32)
    outputs[:, 0] = 3.0 - np.quantile(features.mean(axis=2), 0.1, axis=1) / 10.0
    return outputs


@pytest.fixture(scope="module")
def result(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ProbeResult:
    """Two unseen clips: the made-up data with its training split renamed."""
    folder = tmp_path_factory.mktemp("probe")
    for file in data_folder.glob("*.flac"):
        (folder / file.name).symlink_to(file)
    (folder / "manifest.csv").write_text((data_folder / "manifest.csv").read_text().replace(",train,", ",test,"))
    return probe(folder, 2, floor_scorer, 0.5)


def test_a_scorer_that_hears_noise_orders_noise_and_nothing_else(result: ProbeResult) -> None:
    """Violations must come from the scores: this scorer knows noise and thinks that lost packets are an improvement."""
    assert result.clips == 2
    assert result.violations["white noise 20 dB", "white noise 5 dB"] == 0
    assert result.violations["clean", "white noise 20 dB"] == 0
    assert result.violations["5 % lost, zero-filled", "20 % lost, zero-filled"] == 2
    assert set(result.violations) == set(ORDERS)


def test_presence_is_counted_on_both_sides(result: ProbeResult) -> None:
    """A scorer that calls everything speech passes all speech and refuses no silence."""
    right, every = result.speech_passed["clean"]
    assert right == every > 0
    assert result.others_refused["digital silence"] == (0, 7)


def test_the_table_is_written_whole(result: ProbeResult, tmp_path: Path) -> None:
    """docs/results quotes this file."""
    write_csv(result, tmp_path / "results" / "probe.csv")
    rows = list(csv.DictReader((tmp_path / "results" / "probe.csv").read_text().splitlines()))
    kinds = [row["kind"] for row in rows]
    assert kinds.count("order") == len(ORDERS)
    assert kinds.count("mean") == len(result.means)


def test_simulated_clips_can_be_listened_to(data_folder: Path, tmp_path: Path) -> None:
    """Ears are the last test of a simulator."""
    command = ["simulate", "--data", str(data_folder), "--out", str(tmp_path), "--clips", "4"]
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 0, ran.output
    assert len(list(tmp_path.glob("*.flac"))) == 4
    assert len((tmp_path / "manifest.jsonl").read_text().splitlines()) == 4

"""A small rated set made from the test recordings: speech in rising noise, with votes as listeners could give them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from livemos.training.evaluation.ladder import at_level, white_noise

CLEAN = Path(__file__).parents[2] / "data" / "clean"
SPEAKERS = ("en-ls6081", "en-ls2007")
VOTES = {"snr40": (40.0, 4.6), "snr25": (25.0, 3.7), "snr18": (18.0, 3.1), "snr12": (12.0, 2.4), "snr6": (6.0, 1.7)}
FIELDS = ("file", "condition", "mos", "mos_std", "n_ratings", "sig", "bak")


@pytest.fixture(scope="session")
def clean_folder() -> Path:
    """Twenty clean recordings."""
    return CLEAN


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the set `noise`: 5 conditions x 2 talkers, 4 s each at 16 kHz."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "rated" / "noise"
    (folder / "audio").mkdir(parents=True)
    rng = np.random.default_rng(3)
    with (folder / "ratings.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, FIELDS)
        rows.writeheader()
        for condition, (snr_db, mos) in VOTES.items():
            for number, speaker in enumerate(SPEAKERS):
                speech, rate_hz = soundfile.read(CLEAN / f"{speaker}.flac", dtype="float32")
                name = f"audio/{condition}_{speaker}.flac"
                noisy = white_noise(at_level(speech[: 4 * rate_hz]), snr_db, rng)
                soundfile.write(folder / name, np.clip(noisy, -1, 1), rate_hz)
                vote = mos + 0.1 * number
                rows.writerow(dict(zip(FIELDS, (name, condition, vote, 0.7, 10, 4.5, vote), strict=True)))
    return root


@pytest.fixture(scope="session")
def peers_folder(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A public model that repeats the votes, shifted by half a point."""
    peers = tmp_path_factory.mktemp("peers")
    (peers / "scores").mkdir()
    with (data_folder / "rated" / "noise" / "ratings.csv").open(newline="", encoding="utf-8") as file:
        rated = list(csv.DictReader(file))
    lines = [f"{row['file']},{row['mos']},{float(row['mos']) - 0.5:.3f}" for row in rated]
    (peers / "scores" / "noise.csv").write_text("\n".join(["file,mos,oracle", *lines]) + "\n", encoding="utf-8")
    return peers


@pytest.fixture
def write_set(tmp_path: Path) -> Callable[[str], Path]:
    """Write a ratings.csv of the given text as the only set of a data folder."""

    def write(text: str) -> Path:
        folder = tmp_path / "rated" / "made"
        folder.mkdir(parents=True)
        (folder / "ratings.csv").write_text(text, encoding="utf-8")
        return tmp_path

    return write

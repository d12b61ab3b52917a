"""A data folder of a few made-up recordings: four voices, a noise, a melody, a room; licences of every sort."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from livemos.agent.features import LogMel
from livemos.training.models.conformer import ConformerSize
from livemos.training.recipe import Recipe
from livemos.training.recipes import RECIPES
from livemos.training.simulator import Simulator
from livemos.training.sources import Library
from livemos.training.tables import TableJob, build

RATE_HZ = 16_000
_COLUMNS = [
    "path",
    "kind",
    "language",
    "speaker",
    "sex",
    "seconds",
    "native_rate_hz",
    "source_repository",
    "source_path",
    "licence",
    "transcript",
    "snr_db",
    "bandwidth_hz",
    "split",
    "category",
    "recording",
    "dnsmos_ovrl",
    "dnsmos_bak",
    "lossy",
    "note",
]


def voice(seed: int, seconds: float) -> np.ndarray:
    """Gliding harmonics that open and close like syllables, with hiss between: enough of a voice for PESQ."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    pitch_hz = 110.0 + 60.0 * rng.random() + 15.0 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    formant = 4.0 + 2.0 * np.sin(2 * np.pi * 1.3 * time + seed)
    tones = sum(np.sin(k * phase) * np.exp(-((k - formant) ** 2) / 18.0) for k in range(1, 24))
    syllables = np.maximum(0.0, np.sin(2 * np.pi * 2.7 * time)) ** 0.7
    hiss = rng.standard_normal(len(time)) * np.maximum(0.0, -np.sin(2 * np.pi * 2.7 * time)) ** 4
    return np.asarray(0.15 * (tones * syllables / 3 + 0.15 * hiss), np.float32)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest and eleven files, both splits that training reads."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(3)
    decay = np.exp(-np.arange(RATE_HZ // 2) / 1500.0)
    files: list[tuple[str, str, str, str, str, np.ndarray]] = [
        ("a1.flac", "clean", "anna", "CC0 1.0", "train", voice(1, 4)),
        ("a2.flac", "clean", "anna", "CC0 1.0", "train", voice(2, 3)),
        ("b1.flac", "clean", "bert", "CC BY 4.0", "train", voice(3, 5)),
        ("g1.flac", "clean", "gnu", "GPL-3.0", "train", voice(4, 4)),
        ("s1.flac", "clean", "share", "CC BY-SA 3.0", "train", voice(5, 4)),
        ("v1.flac", "clean", "vera", "Apache-2.0", "val", voice(6, 5)),
        ("n1.flac", "noise", "", "CC0", "train", 0.1 * rng.standard_normal(5 * RATE_HZ)),
        ("n2.flac", "noise", "", "MIT", "val", 0.1 * rng.standard_normal(5 * RATE_HZ).cumsum() / 200),
        ("m1.flac", "music", "", "Apache-2.0", "train", 0.2 * np.sin(np.arange(4 * RATE_HZ) * 0.2)),
        ("r1.flac", "rir", "", "MIT", "train", decay * rng.standard_normal(len(decay)) * 0.3),
        ("r2.flac", "rir", "", "MIT", "val", decay * rng.standard_normal(len(decay)) * 0.3),
    ]
    with (folder / "manifest.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, _COLUMNS, restval="")
        rows.writeheader()
        for path, kind, speaker, licence, split, samples in files:
            soundfile.write(folder / path, samples, RATE_HZ, subtype="PCM_16")
            row = {"path": path, "kind": kind, "speaker": speaker, "licence": licence, "split": split}
            rows.writerow(row | {"seconds": len(samples) / RATE_HZ, "source_repository": "made/up", "category": kind})
    return folder


@pytest.fixture(scope="session")
def library(data_folder: Path) -> Library:
    return Library.open(data_folder, "train", permissive=True)


@pytest.fixture(scope="session")
def simulator(library: Library) -> Simulator:
    return Simulator(library=library, seed=5, features=LogMel())


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """Seven seconds of a voice at -26 dBov, shape (112,000,)."""
    from livemos.training.levels import active_level_dbov, gain

    samples = voice(9, 7)
    return np.asarray(samples * gain(-26.0 - active_level_dbov(samples)), np.float32)


@pytest.fixture(scope="session")
def work(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of ten training families and four validation families, labelled with PESQ, as `recipe` asks for them."""
    folder = tmp_path_factory.mktemp("work")
    for split, seed, families in (("train", 1, 10), ("val", 2, 4)):
        job = TableJob(data=data_folder, folder=folder / split, split=split, seed=seed, families=families)
        assert list(build(job, workers=1)) == [1]
    return folder


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """24 steps of a very small network on the tables of `work`."""
    return replace(
        RECIPES["first"],
        name="tiny",
        train_families=10,
        validation_families=4,
        steps=24,
        batch_families=2,
        windows_per_clip=2,
        evaluate_every_steps=8,
        size=ConformerSize(stem_channels=4, width=24, blocks=1, heads=2, feed_forward=32, head_width=16),
    )

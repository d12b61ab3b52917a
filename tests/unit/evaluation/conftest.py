"""A small rated set and a small table of held-out simulation, both made from the test recordings."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from livemos.agent.features import LogMel
from livemos.training.clips import CLIP_SAMPLES
from livemos.training.damages import DAMAGES
from livemos.training.evaluation.ladder import at_level, lost, white_noise
from livemos.training.simulator import WINDOWS, SimulatedClip, WindowTruth
from livemos.training.tables import save_columns, truth_columns

CLEAN = Path(__file__).parents[2] / "data" / "clean"
SPEAKERS = ("en-ls6081", "en-ls2007")
VOTES = {"snr40": (40.0, 4.6), "snr25": (25.0, 3.7), "snr18": (18.0, 3.1), "snr12": (12.0, 2.4), "snr6": (6.0, 1.7)}
LADDER_SPEAKERS = ("en-ls6081", "en-ls2007", "en-ls7447", "en-ls3436", "en-ls87", "en-ls5322")
SNR_DB = (60.0, 25.0, 15.0, 5.0)
LOST = (0.0, 0.05, 0.1, 0.2)
UNSEEN = next(name for name, kind in DAMAGES.items() if kind.held_out and kind.cause == "loss")
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


def _clip(family: int, member: int, speech: np.ndarray | None, damaged: np.ndarray, kind: str) -> SimulatedClip:
    """One clip of a noise ladder, a loss ladder, or (speech None) a sound without speech."""
    windows = np.ones(WINDOWS, np.float32)
    spoken = speech is not None
    parameters = {"path": "noise/k20.flac"} if kind == "noise" else {"lost_ratio": LOST[member]}
    applied = ((kind, parameters),) if member or not spoken else ()
    return SimulatedClip(
        family=family,
        member=member,
        samples=damaged.astype(np.float32),
        reference=speech,
        speaker=f"s{family}" if spoken else "",
        source_snr_db=45.0 if spoken else float("nan"),
        source_bandwidth_hz=8_000.0 if spoken else float("nan"),
        ladder=kind if spoken else "",
        severity=member / 3,
        damages=applied,
        severities=(member / 3,) * len(applied),
        level_dbov=-26.0,
        response_db=np.zeros(64, np.float32),
        truth=WindowTruth(
            speech_ratio=0.8 * windows * spoken,
            gap_ratio=windows * (LOST[member] if kind != "noise" and spoken else 0.0),
            lost_ratio=windows * (LOST[member] if kind != "noise" and spoken else 0.0),
            clipped_ratio=0 * windows,
            noise_db=-windows * (SNR_DB[member] if kind == "noise" else 45.0),
        ),
    )


@pytest.fixture(scope="session")
def work_folder(clean_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder whose split val holds noise and loss ladders of real speech and one family of noise alone."""
    rng = np.random.default_rng(5)
    clips = []
    for family, speaker in enumerate(LADDER_SPEAKERS):
        speech = np.resize(soundfile.read(clean_folder / f"{speaker}.flac", dtype="float32")[0], CLIP_SAMPLES)
        speech = at_level(speech)
        for member in range(4):
            noisy = white_noise(speech, SNR_DB[member], rng)
            holed = lost(speech, LOST[member], rng, repeat=False)
            clips.append(_clip(2 * family, member, speech, noisy, "noise"))
            clips.append(_clip(2 * family + 1, member, speech, np.resize(holed, CLIP_SAMPLES), UNSEEN))
    hiss = 0.02 * rng.standard_normal((4, CLIP_SAMPLES))
    clips += [_clip(2 * len(LADDER_SPEAKERS), member, None, hiss[member], "recorded") for member in range(4)]
    clips.sort(key=lambda clip: (clip.family, clip.member))
    folder = tmp_path_factory.mktemp("work") / "val"
    folder.mkdir()
    front_end = LogMel()
    np.save(folder / "00000.features.npy", np.stack([front_end(clip.samples) for clip in clips]).astype(np.float16))
    save_columns(folder / "00000.table.npz", truth_columns(clips))
    pesq = [np.nan if clip.reference is None else 4.4 - 0.9 * clip.member for clip in clips]
    save_columns(folder / "00000.pesq.npz", {"pesq_wb": np.array(pesq, np.float32)})
    return folder.parent

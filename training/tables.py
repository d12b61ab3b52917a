"""The label table: simulated clips as features and truth, in shards that are written once and never half.

    WORK/<split>/00012.features.npy   (clips, frames, mel bands) float16
    WORK/<split>/00012.table.npz      one column a name, one row a clip

A shard that exists is done, so an interrupted run goes on where it stopped. Audio is not kept: (seed, family) gives it
again. Labels are computed from the truth when the table is read, so their formulas may change without a new simulation.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from livemos.agent.errors import ConfigError
from livemos.agent.features import LogMel
from livemos.agent.records import Samples
from livemos.training.simulator import SimulatedClip, Simulator
from livemos.training.sources import Library, attributions

SHARD_FAMILIES = 32
SOURCES = "sources.json"  # what the audio was made of, for the model card

Columns = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableJob:
    """Everything that decides the content of a table; a worker needs nothing else."""

    data: Path
    folder: Path
    split: str
    seed: int
    families: int

    def shards(self) -> range:
        """Numbers of the shards; the last may be short."""
        return range(-(-self.families // SHARD_FAMILIES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """features: (C, T, F) float16; columns: arrays of C rows."""

    features: npt.NDArray[np.float16]
    columns: Columns


def pesq_wb(reference: Samples, degraded: Samples) -> float:
    """P.862.2 score of two clips at 16 kHz; NaN where PESQ hears no utterance."""
    from pesq import NoUtterancesError, pesq

    if not reference.any() or not degraded.any():
        return float("nan")  # PESQ scales by the peak
    try:
        # PESQ hears a constant as a thump at the start; listeners and the features do not
        return float(pesq(16_000, reference, degraded - degraded.mean(), "wb"))
    except NoUtterancesError:
        return float("nan")


def label(clip: SimulatedClip) -> float:
    """PESQ-WB of a simulated clip; NaN without speech."""
    return float("nan") if clip.reference is None else pesq_wb(clip.reference, clip.samples)


def write_shard(job: TableJob, simulator: Simulator, shard: int) -> None:
    """Simulate, label and store the families of one shard."""
    first = shard * SHARD_FAMILIES
    families = range(first, min(first + SHARD_FAMILIES, job.families))
    clips = [clip for family in families for clip in simulator.family(family)]
    features = np.stack([simulator.features(clip.samples) for clip in clips]).astype(np.float16)
    columns: dict[str, list[object]] = {
        "family": [clip.family for clip in clips],
        "member": [clip.member for clip in clips],
        "speaker": [clip.speaker for clip in clips],
        "ladder": [clip.ladder for clip in clips],
        "severity": [clip.severity for clip in clips],
        "damages": [json.dumps(clip.damages) for clip in clips],
        "level_dbov": [clip.level_dbov for clip in clips],
        "source_snr_db": [clip.source_snr_db for clip in clips],
        "source_bandwidth_hz": [clip.source_bandwidth_hz for clip in clips],
        "response_db": [clip.response_db for clip in clips],
        "pesq_wb": [label(clip) for clip in clips],
    }
    truths = [asdict(clip.truth) for clip in clips]
    columns |= {name: [truth[name] for truth in truths] for name in truths[0]}
    arrays: dict[str, Any] = {name: np.array(rows) for name, rows in columns.items()}
    stem = job.folder / f"{shard:05d}"
    _publish(stem.with_suffix(".features.npy"), lambda file: np.save(file, features))
    _publish(
        stem.with_suffix(".table.npz"),
        lambda file: np.savez_compressed(file, **arrays),
    )


def _publish(path: Path, write: Callable[[BinaryIO], object]) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        write(file)
    partial.replace(path)


def missing_shards(job: TableJob) -> list[int]:
    """Shards that are not there yet, or that a shorter run left shorter than this one wants them."""
    return [shard for shard in job.shards() if not (job.folder / f"{shard:05d}.table.npz").exists()]


def _claim(job: TableJob) -> None:
    """Raises ConfigError where the folder holds shards of another seed, split or set of recordings."""
    manifest = hashlib.sha256((job.data / "manifest.csv").read_bytes()).hexdigest()
    identity = json.dumps({"split": job.split, "seed": job.seed, "manifest_sha256": manifest}, indent=1)
    file = job.folder / "job.json"
    if file.exists() and file.read_text() != identity:
        raise ConfigError(f"{job.folder} holds clips of another seed or other recordings; give another --work")
    _publish(file, lambda written: written.write(identity.encode()))


def _work(job: TableJob, shards: list[int]) -> int:
    library = Library.open(job.data, job.split, permissive=True)
    simulator = Simulator(library=library, seed=job.seed, features=LogMel())
    for shard in shards:
        write_shard(job, simulator, shard)
    return len(shards)


def build(job: TableJob, workers: int) -> Iterator[int]:
    """Write what is missing; yields the number of finished shards as they come. Raises ConfigError for missing data."""
    library = Library.open(job.data, job.split, permissive=True)
    job.folder.mkdir(parents=True, exist_ok=True)
    _claim(job)
    text = json.dumps(attributions(library.recordings), indent=1)
    _publish(job.folder / SOURCES, lambda file: file.write(text.encode()))
    missing = missing_shards(job)
    if workers <= 1:
        for shard in missing:
            yield _work(job, [shard])
        return
    # spawn: a fork of a process with a progress bar's thread may hang
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_work, job, [shard]) for shard in missing]):
            yield done.result()


def read_sources(folder: Path) -> list[str]:
    """Attribution lines of the recordings a table was made of. Raises ConfigError."""
    try:
        lines: list[str] = json.loads((folder / SOURCES).read_text())
    except FileNotFoundError as missing:
        raise ConfigError(f"{folder / SOURCES} is missing; run `livemos train label` again") from missing
    return lines


def _columns(file: Path) -> Columns:
    with np.load(file) as columns:
        return dict(columns)


def read_table(folder: Path, families: int | None = None) -> Table:
    """All shards in `folder`, or the first that hold `families`. Raises ConfigError when there are too few."""
    files = sorted(folder.glob("*.table.npz"))
    if families is not None:
        needed = -(-families // SHARD_FAMILIES)
        if len(files) < needed:
            raise ConfigError(f"{folder} holds {len(files)} of {needed} shards; run `livemos train label` to the end")
        files = files[:needed]
    if not files:
        raise ConfigError(f"{folder} holds no label table; run `livemos train label` first")
    tables = [_columns(file) for file in files]
    columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    features = np.concatenate([np.load(str(file).replace(".table.npz", ".features.npy")) for file in files])
    return Table(features=features, columns=columns)

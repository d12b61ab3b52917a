"""The label table: simulated clips as features and truth, in shards that are written once and never half.

    WORK/<split>/00012.features.npy   (clips, frames, mel bands) float16
    WORK/<split>/00012.table.npz      the simulator's truth, one column a name, one row a clip
    WORK/<split>/00012.pesq.npz       what one labeler (training/labelers.py) said, NaN where it was not asked

A file that exists is done, so an interrupted run goes on where it stopped and a labeler can be added later. Audio is
not kept: (seed, family) gives it again. Targets are computed from truth and labels when the table is read, so their
formulas may change without a new simulation. docs/model.md has the columns.
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
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from livemos.agent.errors import ConfigError
from livemos.agent.features import LogMel
from livemos.agent.records import SAMPLE_RATE_HZ
from livemos.training import labelers
from livemos.training.damages import BLIND_KINDS, DAMAGE_SETS
from livemos.training.levels import level_db
from livemos.training.simulator import FAMILY_CLIPS, SimulatedClip, Simulator
from livemos.training.sources import Library, attributions

if TYPE_CHECKING:
    from livemos.training.recipe import Recipe

SHARD_FAMILIES = 32
SOURCES = "sources.json"  # what the audio was made of, for the model card
_CLAIM = "job.json"  # whose folder it is
_FEATURES = "features"
_LOT_SHARDS = 8

Columns = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableJob:
    """Everything that decides the content of a table; a worker needs nothing else. name: "" for that of the split."""

    data: Path
    folder: Path
    split: str
    seed: int
    families: int
    damage_set: str = "first"
    labelers: tuple[str, ...] = ("pesq",)
    models: Path | None = None  # folder of the labelers' model files
    name: str = ""

    def shards(self) -> range:
        """Numbers of the shards; the last may be short."""
        return range(-(-self.families // SHARD_FAMILIES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A table that a recipe asks for; name: of its folder below the work folder."""

    name: str
    split: str
    seed: int
    families: int
    damage_set: str


def wanted_tables(recipe: Recipe) -> list[Wanted]:
    """Validation, training, and what a recipe adds to it."""

    def table(name: str, split: str, seed: int, families: int, damage_set: str) -> Wanted:
        return Wanted(name=name, split=split, seed=seed, families=families, damage_set=damage_set)

    # the validation clips are drawn from other recordings, and from another seed
    tables = [
        table("val", "val", recipe.seed + 1, recipe.validation_families, recipe.damage_set),
        table("train", "train", recipe.seed, recipe.train_families, recipe.damage_set),
    ]
    added = [table(each.name, "train", each.seed, each.families, each.damage_set) for each in recipe.additions]
    return tables + added


# does the given shards of a job, publishes them in its folder, and yields how many are finished, as they come
Spread = Callable[[TableJob, list[int]], Iterator[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """features: (C, T, F) float16; columns: arrays of C rows."""

    features: npt.NDArray[np.float16]
    columns: Columns


def truth_columns(clips: list[SimulatedClip]) -> Columns:
    """Everything the simulator knows about `clips`, one row each."""
    columns: dict[str, list[object]] = {
        "family": [clip.family for clip in clips],
        "member": [clip.member for clip in clips],
        "speaker": [clip.speaker for clip in clips],
        "ladder": [clip.ladder for clip in clips],
        "severity": [clip.severity for clip in clips],
        "damages": [json.dumps(clip.damages) for clip in clips],
        "severities": [json.dumps(clip.severities) for clip in clips],
        "level_dbov": [clip.level_dbov for clip in clips],
        "source_snr_db": [clip.source_snr_db for clip in clips],
        "source_bandwidth_hz": [clip.source_bandwidth_hz for clip in clips],
        "response_db": [clip.response_db for clip in clips],
        "second_dbov": [_levels_by_second(clip) for clip in clips],
    }
    truths = [asdict(clip.truth) for clip in clips]
    columns |= {name: [truth[name] for truth in truths] for name in truths[0]}
    return {name: np.array(rows) for name, rows in columns.items()}


def _levels_by_second(clip: SimulatedClip) -> list[float]:
    """Mean power of each second in dBov: a mark by which labels and audio made again are known to belong together."""
    return [level_db(float(np.mean(each**2))) for each in clip.samples.reshape(-1, SAMPLE_RATE_HZ)]


def _check_mark(expected: npt.NDArray[np.generic] | None, clips: list[SimulatedClip], mark: Path) -> None:
    """Raises ConfigError where labels were kept for other audio than this."""
    if expected is None:
        return
    wanted = np.asarray(expected, np.float64)
    levels = np.maximum(np.array([_levels_by_second(clip) for clip in clips]), wanted.min())
    if np.abs(levels - wanted).max() > 1.0:
        raise ConfigError(
            f"{mark} belongs to other audio than the simulator gives now: other recordings, codecs or damages; "
            "label anew, without --kept, in another --work"
        )


def part_path(folder: Path, shard: int, part: str) -> Path:
    """The file of one part of a shard."""
    return folder / f"{shard:05d}.{part}.npz"


def missing_parts(job: TableJob, shard: int) -> list[str]:
    """What is not there yet of a shard: "table" (with the features), or the name of a labeler."""
    return [part for part in ("table", *job.labelers) if not part_path(job.folder, shard, part).exists()]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """What is to be made of one shard. expected_dbov: the mark of kept labels, where there is one."""

    shard: int
    missing: tuple[str, ...]
    expected_dbov: npt.NDArray[np.generic] | None


def shard_task(job: TableJob, shard: int) -> ShardTask:
    """What `job.folder` lacks of a shard."""
    mark = part_path(job.folder, shard, "mark")
    expected = read_columns(mark)["second_dbov"] if mark.exists() else None
    return ShardTask(shard=shard, missing=tuple(missing_parts(job, shard)), expected_dbov=expected)


def make_parts(job: TableJob, simulator: Simulator, task: ShardTask) -> Iterator[tuple[str, Columns]]:
    """Simulate the families of one shard; its missing parts as they are made, "table" last. Writes nothing."""
    first = task.shard * SHARD_FAMILIES
    families = range(first, min(first + SHARD_FAMILIES, job.families))
    # a labeler that hears few families needs no others, unless the features are wanted as well
    wanted = [family for family in families if _needed(task, simulator, family)]
    clips = [clip for family in wanted for clip in simulator.family(family)]
    rows = len(families) * FAMILY_CLIPS
    places = [(clip.family - first) * FAMILY_CLIPS + clip.member for clip in clips]
    for part in task.missing:
        if part == "table":
            continue
        heard = labelers.label(part, clips, job.models)
        columns: Columns = {name: labelers.LABELERS[part].unasked(rows) for name in heard}
        for name, values in heard.items():
            columns[name][places] = values
        yield part, columns
    if "table" in task.missing:
        _check_mark(task.expected_dbov, clips, part_path(job.folder, task.shard, "mark"))
        yield _FEATURES, {_FEATURES: np.stack([simulator.features(clip.samples) for clip in clips]).astype(np.float16)}
        yield "table", truth_columns(clips)


def _needed(task: ShardTask, simulator: Simulator, family: int) -> bool:
    if "table" in task.missing or any(labelers.hears(name, family, ()) for name in task.missing):
        return True
    drawable = simulator.damage_set.kinds
    # only a set with such kinds is worth the draw
    return not BLIND_KINDS.isdisjoint(drawable) and not BLIND_KINDS.isdisjoint(simulator.kinds(family))


def publish_part(job: TableJob, shard: int, part: str, columns: Columns) -> None:
    """Store one part of a shard; a shard has its table only after its features."""
    if part == _FEATURES:
        _publish(job.folder / f"{shard:05d}.features.npy", lambda file: np.save(file, columns[_FEATURES]))
    else:
        save_columns(part_path(job.folder, shard, part), columns)


def save_columns(path: Path, columns: Columns) -> None:
    """Write a compressed .npz, whole or not at all."""
    arrays: dict[str, Any] = dict(columns)
    _publish(path, lambda file: np.savez_compressed(file, **arrays))


def _publish(path: Path, write: Callable[[BinaryIO], object]) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        write(file)
    partial.replace(path)


def missing_shards(job: TableJob) -> list[int]:
    """Shards of which something is not there yet."""
    return [shard for shard in job.shards() if missing_parts(job, shard)]


def data_mark(data: Path) -> str:
    """The same for the same recordings: SHA-256 of their manifest."""
    return hashlib.sha256((data / "manifest.csv").read_bytes()).hexdigest()


def claim(job: TableJob) -> None:
    """Make the folder and mark it as this job's; nothing may be written there before.

    Raises ConfigError where it holds shards of another seed, split, set of damages or set of recordings.
    """
    facts = {"split": job.split, "seed": job.seed, "manifest_sha256": data_mark(job.data)}
    if job.damage_set != "first":
        facts["damage_set"] = job.damage_set
    identity = json.dumps(facts, indent=1)
    file = job.folder / _CLAIM
    if file.exists() and file.read_text() != identity:
        raise ConfigError(f"{job.folder} holds clips of another seed or other recordings; give another --work")
    job.folder.mkdir(parents=True, exist_ok=True)
    _publish(file, lambda written: written.write(identity.encode()))


def require_tables(work: Path, recipe: Recipe) -> None:
    """Raises ConfigError where a folder of `work` lacks a table of the recipe or holds that of another."""
    for wanted in wanted_tables(recipe):
        file = work / wanted.name / _CLAIM
        if not file.exists():
            raise ConfigError(f"{file} is missing; run `livemos train label --recipe {recipe.name}` first")
        facts = json.loads(file.read_text())
        held = (facts["seed"], facts.get("damage_set", "first"))
        if held != (wanted.seed, wanted.damage_set):
            raise ConfigError(
                f"{file.parent} holds clips of seed {held[0]} and damage set {held[1]}, but recipe {recipe.name} is "
                f"made of seed {wanted.seed} and {wanted.damage_set}; give the --work it was labelled in"
            )


def open_library(job: TableJob) -> Library:
    """The recordings a job may use."""
    held_out = DAMAGE_SETS[job.damage_set].held_out_sources
    return Library.open(job.data, job.split, permissive=True, held_out=held_out)


def open_simulator(job: TableJob) -> Simulator:
    """The simulator of a job; kinds that are held out are drawn for every split but "train"."""
    return Simulator(
        library=open_library(job),
        seed=job.seed,
        features=LogMel(),
        damage_set=DAMAGE_SETS[job.damage_set],
        held_out=job.split != "train",
    )


def _work(job: TableJob, shards: list[int]) -> int:
    simulator = open_simulator(job)
    for shard in shards:
        for part, columns in make_parts(job, simulator, shard_task(job, shard)):
            publish_part(job, shard, part, columns)
    return len(shards)


def in_processes(workers: int) -> Spread:
    """The shards of a job over processes of this machine."""

    def spread(job: TableJob, shards: list[int]) -> Iterator[int]:
        if workers <= 1:
            for shard in shards:
                yield _work(job, [shard])
            return
        # a few shards at a time: a worker reads the recordings once for all of them
        lots = [shards[start : start + _LOT_SHARDS] for start in range(0, len(shards), _LOT_SHARDS)]
        # spawn: a fork of a process with a progress bar's thread may hang
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            for done in as_completed([pool.submit(_work, job, lot) for lot in lots]):
                yield done.result()

    return spread


def build(job: TableJob, workers: int = 1, spread: Spread | None = None) -> Iterator[int]:
    """Write what is missing; yields how many shards are finished, as they come. Raises ConfigError for missing data.

    spread: who does the work: training.cluster.on_ray, or, where it is None, `workers` processes of this machine.
    """
    labelers.check(job.labelers, job.models)
    library = open_library(job)
    claim(job)
    text = json.dumps(attributions(library.recordings), indent=1)
    _publish(job.folder / SOURCES, lambda file: file.write(text.encode()))
    missing = missing_shards(job)
    if missing:
        yield from (spread or in_processes(workers))(job, missing)


def read_sources(folder: Path) -> list[str]:
    """Attribution lines of the recordings a table was made of. Raises ConfigError."""
    try:
        lines: list[str] = json.loads((folder / SOURCES).read_text())
    except FileNotFoundError as missing:
        raise ConfigError(f"{folder / SOURCES} is missing; run `livemos train label` again") from missing
    return lines


def read_columns(file: Path) -> Columns:
    """The columns of one .npz file."""
    with np.load(file) as columns:
        return dict(columns)


def shard_columns(table: Path) -> Columns:
    """Truth and labels of one shard; labels that nobody has given are NaN."""
    columns = read_columns(table)
    rows = len(columns["family"])
    for name, labeler in labelers.LABELERS.items():
        file = table.with_name(table.name.replace(".table.", f".{name}."))
        given = read_columns(file) if file.exists() else {}
        for column in labeler.columns:
            # tables of the first recipe keep PESQ beside the truth
            columns.setdefault(column, given.get(column, labeler.unasked(rows)))
    return columns


def read_table(folder: Path, families: int | None = None) -> Table:
    """All shards in `folder`, or the first that hold `families`. Raises ConfigError when there are too few."""
    files = _tables(folder, families)
    features = np.concatenate([np.load(str(file).replace(".table.npz", ".features.npy")) for file in files])
    return Table(features=features, columns=_joined(files))


def joined(*tables: Table) -> Table:
    """The clips of all, in this order."""
    columns = {name: np.concatenate([each.columns[name] for each in tables]) for name in tables[0].columns}
    return Table(features=np.concatenate([each.features for each in tables]), columns=columns)


def read_all_columns(folder: Path) -> Columns:
    """The columns of all shards in `folder`, without features. Raises ConfigError when there are none."""
    return _joined(_tables(folder, None))


def _joined(files: list[Path]) -> Columns:
    shards = [shard_columns(file) for file in files]
    return {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0]}


def _tables(folder: Path, families: int | None) -> list[Path]:
    files = sorted(folder.glob("*.table.npz"))
    if families is not None:
        needed = -(-families // SHARD_FAMILIES)
        if len(files) < needed:
            raise ConfigError(f"{folder} holds {len(files)} of {needed} shards; run `livemos train label` to the end")
        files = files[:needed]
    if not files:
        raise ConfigError(f"{folder} holds no label table; run `livemos train label` first")
    return files

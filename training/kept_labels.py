"""Labels that outlive a work folder: one small file a split, without audio and features, kept in the repository.

    FOLDER/<recipe>/<table>.npz       table: train, val, or the name of an addition

A new machine simulates the clips again from the seed (the features cost a third of the labels) and takes the labels
from here. Whether audio and labels belong together is told by the level of each second.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from livemos.agent.errors import ConfigError
from livemos.training import labelers
from livemos.training.simulator import FAMILY_CLIPS
from livemos.training.tables import SHARD_FAMILIES, Columns, TableJob, claim, part_path, read_columns, save_columns

_LEVEL_STEP_DB = 0.25
MARK = "mark"  # part of a shard: the levels its labels were given for


def keep(job: TableJob, folder: Path) -> Path:
    """Write what `job`'s folder holds so far; the path of the file. Raises ConfigError when there is nothing."""
    shards = [shard for shard in job.shards() if part_path(job.folder, shard, "table").exists()]
    if not shards:
        raise ConfigError(f"{job.folder} holds no finished shard; run `livemos train label` first")
    columns: Columns = {
        "seed": np.array(job.seed),
        "damage_set": np.array(job.damage_set),
        "manifest_sha256": np.array(_manifest(job)),
        "shards": np.array(shards, np.int32),
    }
    truths = [read_columns(part_path(job.folder, shard, "table")) for shard in shards]
    for name, kind in (("family", np.int32), ("member", np.int8), ("severity", np.float16), ("level_dbov", np.float16)):
        columns[name] = np.concatenate([truth[name] for truth in truths]).astype(kind)
    columns["ladder"] = np.concatenate([truth["ladder"] for truth in truths])
    columns["kinds"] = np.array([_kinds(str(text)) for truth in truths for text in truth["damages"].tolist()])
    levels = np.concatenate([truth["second_dbov"] for truth in truths])
    columns["second_dbov"] = np.round(levels / _LEVEL_STEP_DB).clip(-480, 0).astype(np.int16)
    for name, labeler in labelers.LABELERS.items():
        given = [part_path(job.folder, shard, name) for shard in shards]
        columns[f"{name}_shards"] = np.array(
            [shard for shard, file in zip(shards, given, strict=True) if file.exists()], np.int32
        )
        for column in labeler.columns:
            parts = [
                read_columns(file)[column] if file.exists() else labeler.unasked(len(truth["family"]))
                for file, truth in zip(given, truths, strict=True)
            ]
            columns[column] = np.concatenate(parts).astype(np.float16)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{job.name or job.split}.npz"
    save_columns(file, columns)
    return file


def restore(folder: Path, job: TableJob) -> int:
    """Hand kept labels to `job`'s folder, shard by shard, where it has none yet; the number of files written.

    Raises ConfigError, before anything is written, when they were given for another seed, set of damages or set of
    recordings, or when the folder holds the table of another job.
    """
    file = folder / f"{job.name or job.split}.npz"
    if not file.exists():
        return 0
    kept = read_columns(file)
    wanted = {"seed": job.seed, "damage_set": job.damage_set, "manifest_sha256": _manifest(job)}
    for name, value in wanted.items():
        if kept[name].item() != value:
            raise ConfigError(f"{file} was made with {name} {kept[name].item()}, not {value}; leave --kept away")
    claim(job)
    written = 0
    for shard in kept["shards"].tolist():
        first = shard * SHARD_FAMILIES
        rows = (kept["family"] >= first) & (kept["family"] < first + SHARD_FAMILIES)
        whole = min(SHARD_FAMILIES, job.families - first) * FAMILY_CLIPS
        if rows.sum() != whole:
            continue  # the last shard of a run of another length
        parts = {MARK: {"second_dbov": kept["second_dbov"][rows].astype(np.float32) * np.float32(_LEVEL_STEP_DB)}}
        for name, labeler in labelers.LABELERS.items():
            if shard in kept.get(f"{name}_shards", ()):
                parts[name] = {column: kept[column][rows].astype(np.float32) for column in labeler.columns}
        for name, columns in parts.items():
            if not part_path(job.folder, shard, name).exists():
                save_columns(part_path(job.folder, shard, name), columns)
                written += 1
    return written


def _kinds(damages: str) -> str:
    return " ".join(kind.replace(" ", "-") for kind, _ in json.loads(damages))


def _manifest(job: TableJob) -> str:
    return hashlib.sha256((job.data / "manifest.csv").read_bytes()).hexdigest()

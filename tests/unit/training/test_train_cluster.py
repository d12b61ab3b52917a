"""Labelling on Ray gives the shards that one process gives, and goes on like it."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from livemos.agent.errors import ConfigError
from livemos.training.cluster import make_shard, on_ray
from livemos.training.tables import TableJob, build, data_mark, part_path, shard_task

FILES = ("00000.features.npy", "00000.pesq.npz", "00000.table.npz")
needs_ray = pytest.mark.skipif(
    "LIVEMOS_TEST_RAY" not in os.environ or importlib.util.find_spec("ray") is None,
    reason="starts a Ray cluster: set LIVEMOS_TEST_RAY=1, with the extra [cluster] installed",
)


# a process of its own: Ray leaves its servers to the end of the process that started them
PROCESS = """
import pickle, sys
from pathlib import Path
from livemos.training.cluster import on_ray
from livemos.training.tables import build
job = pickle.loads(Path(sys.argv[1]).read_bytes())
print("finished", list(build(job, spread=on_ray("local", workers=1))))
"""


def label_on_ray(job: TableJob, folder: Path) -> str:
    """The last line that the process says."""
    (folder / "job.pickle").write_bytes(pickle.dumps(job))
    command = [sys.executable, "-c", PROCESS, "job.pickle"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture
def job(data_folder: Path, tmp_path: Path) -> TableJob:
    """The training table of `work`, to be made in another folder."""
    return TableJob(data=data_folder, folder=tmp_path / "train", split="train", seed=1, families=10)


def content(file: Path) -> dict[str, np.ndarray]:
    """Arrays of a .npy or .npz by name."""
    loaded = np.load(file)
    return dict(loaded) if file.suffix == ".npz" else {"features": loaded}


def assert_same_shard(folder: Path, other: Path) -> None:
    """All parts, bit for bit."""
    for name in FILES:
        some, others = content(folder / name), content(other / name)
        assert some.keys() == others.keys()
        for column, values in some.items():
            np.testing.assert_array_equal(values, others[column], err_msg=f"{name} {column}")


@needs_ray
@pytest.mark.timeout(600)
def test_a_cluster_gives_the_shards_of_one_process_and_only_those_that_are_missing(
    job: TableJob, work: Path, tmp_path: Path
) -> None:
    """More machines must change the time that labelling takes, and nothing else."""
    assert label_on_ray(job, tmp_path) == "finished [1]"
    assert_same_shard(job.folder, work / "train")
    assert not list(tmp_path.rglob("*.partial"))
    table = part_path(job.folder, 0, "table").stat().st_mtime_ns
    part_path(job.folder, 0, "pesq").unlink()
    assert label_on_ray(job, tmp_path) == "finished [1]"
    assert part_path(job.folder, 0, "table").stat().st_mtime_ns == table
    assert_same_shard(job.folder, work / "train")


def test_a_finished_table_asks_no_cluster(work: Path, data_folder: Path) -> None:
    """`livemos train all` passes here each time; servers for nothing would cost seconds."""
    finished = TableJob(data=data_folder, folder=work / "train", split="train", seed=1, families=10)
    assert list(build(finished, spread=on_ray("no cluster has this address"))) == []


def test_a_worker_with_other_recordings_refuses(job: TableJob, data_folder: Path, tmp_path: Path) -> None:
    """A machine with last month's data folder would mix another simulation into the table."""
    job.folder.mkdir()
    task = shard_task(job, 0)
    with pytest.raises(ConfigError, match="other recordings"):
        make_shard(job, task, "another mark")
    with pytest.raises(ConfigError, match="no data folder"):
        make_shard(replace(job, data=tmp_path / "none"), task, data_mark(data_folder))
    assert list(job.folder.iterdir()) == []


def test_without_ray_the_extra_is_named(job: TableJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare import error does not say what to install."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"livemos\[cluster\]"):
        list(build(job, spread=on_ray("local")))

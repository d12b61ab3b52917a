"""Labelling on a Ray cluster: shards are made wherever there is a free core, and published by the process that asked.

Workers need livemos with its extras [train] and [cluster], and the data folder (and the models' folder) under the same
paths; they write no file. A worker that is lost costs the shard it was at, which Ray gives to another.
"""

from __future__ import annotations

import importlib
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from livemos.agent.errors import ConfigError, LivemosError
from livemos.training.tables import (
    Columns,
    ShardTask,
    Spread,
    TableJob,
    data_mark,
    make_parts,
    open_simulator,
    publish_part,
    shard_task,
)

LOCAL = "local"


def _ray() -> Any:
    # before the first import; nobody is told that this cluster exists
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return importlib.import_module("ray")
    except ImportError as missing:
        raise ConfigError("--cluster needs the package ray; pip install 'livemos[cluster]'") from missing


def make_shard(job: TableJob, task: ShardTask, mark: str) -> list[tuple[str, Columns]]:
    """All missing parts of one shard, on a worker. mark: of the recordings as the asking process has them.

    Raises ConfigError.
    """
    if not job.data.is_dir():
        raise ConfigError(
            f"worker {os.uname().nodename} has no data folder {job.data}; put it there as on this machine"
        )
    if data_mark(job.data) != mark:
        raise ConfigError(
            f"worker {os.uname().nodename} has other recordings in {job.data}; copy the folder of this machine"
        )
    return list(make_parts(job, open_simulator(job), task))


def on_ray(address: str, workers: int | None = None) -> Spread:
    """Shards over the Ray cluster at `address`, or over one started here for the purpose ("local").

    workers: cores to use at most; None: all, and those that join later. Raises ConfigError.
    """

    def spread(job: TableJob, shards: list[int]) -> Iterator[int]:
        ray = _ray()
        _connect(ray, address, workers)
        try:
            yield from _spread(ray, job, shards, workers)
        except ray.exceptions.RayTaskError as failed:
            if isinstance(failed.cause, LivemosError):
                raise failed.cause from None
            raise
        finally:
            ray.shutdown()

    return spread


def _connect(ray: Any, address: str, workers: int | None) -> None:
    quiet = {"log_to_driver": False, "configure_logging": False}
    if address == LOCAL:
        ray.init(address=LOCAL, num_cpus=workers, include_dashboard=False, **quiet)
        return
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as failed:
        reason = str(failed).partition("\n")[0]
        raise ConfigError(
            f"no Ray cluster answers at {address!r} ({reason}); start one with `ray start --head`"
        ) from failed


def _spread(ray: Any, job: TableJob, shards: list[int], workers: int | None) -> Iterator[int]:
    mark = data_mark(job.data)
    elsewhere = replace(job, data=job.data.resolve(), models=job.models and job.models.resolve())
    remote = ray.remote(num_cpus=1)(make_shard)
    waiting, running = deque(shards), dict[Any, int]()
    while waiting or running:
        # a finished shard waits in memory until it is published: no more of them than are worked at, twice
        room = workers or 2 * int(ray.cluster_resources().get("CPU", 1))
        while waiting and len(running) < room:
            shard = waiting.popleft()
            running[remote.remote(elsewhere, shard_task(job, shard), mark)] = shard
        for done in ray.wait(list(running), num_returns=1)[0]:
            shard = running.pop(done)
            for part, columns in ray.get(done):
                publish_part(job, shard, part, columns)
            yield 1

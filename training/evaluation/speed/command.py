"""`livemos bench model`: milliseconds a segment from audio to scores, beside public models in the same run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from livemos.training.evaluation.formats import Format

# read by the linear algebra libraries when they are first loaded, so set before numpy is
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def model(
    bundle: Annotated[
        list[Path] | None, typer.Option(help="Model bundle; may be repeated; default: the packaged one.")
    ] = None,
    peers: Annotated[
        Path | None, typer.Option(help="Folder with files of public models (needs the extra [peers]).")
    ] = None,
    batch: Annotated[str, typer.Option(help="Segments at once; several with commas.")] = "1,16,64",
    seconds: Annotated[float, typer.Option(min=0, help="Measured time of each model at each batch.")] = 2.0,
    core: Annotated[int | None, typer.Option(help="Core to run on.")] = 0,
    results: Annotated[Path | None, typer.Option(help="Append rows with the machine and versions, JSONL.")] = None,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Default: table on a terminal, csv when piped.")
    ] = None,
) -> None:
    """Time the whole path from audio to scores on one core and one thread, every precision a bundle holds."""
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")
    from livemos.agent.errors import ConfigError
    from livemos.training.evaluation.printing import print_rows, progress
    from livemos.training.evaluation.speed import contenders, measure

    wanted = [each.strip() for each in batch.split(",")]
    if not all(each.isdecimal() and int(each) > 0 for each in wanted):
        raise ConfigError(f"--batch {batch}: give whole numbers with commas, for example 1,16,64")
    batches = [int(each) for each in wanted]
    with measure.pinned(core):
        paths: list[Path | None] = [*bundle] if bundle else [None]
        running = [each for path in paths for each in contenders.bundle_contenders(path)]
        if peers is not None:
            running += contenders.peer_contenders(peers)
        with progress() as bar:
            task = bar.add_task("models x batches", total=len(running) * len(batches))
            rows = measure.measure(running, batches, seconds, lambda: bar.advance(task))
    if results is not None:
        results.parent.mkdir(parents=True, exist_ok=True)
        with results.open("a", encoding="utf-8") as lines:
            for row in rows:
                lines.write(json.dumps({"benchmark": "model", **row, "machine": measure.machine()}) + "\n")
    shown = ("model", "precision", "batch", "cpu_ms", "wall_ms", "times_livemos")
    print_rows(rows, measure.SPEED_COLUMNS, output_format, "ms a segment of 1 s, audio to scores, one core", shown)

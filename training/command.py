"""`livemos train`: simulate, label, fit, probe, or all of it, resumable at every step.

Nothing heavy is imported before a command runs: the command line lists these commands without torch installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from livemos.training.recipe import Recipe
    from livemos.training.tables import TableJob

app = typer.Typer(
    help="Train a model from the data folder (needs the extra [train]).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Data = Annotated[Path, typer.Option(help="The data folder: manifest.csv and the recordings it names.")]
Work = Annotated[Path, typer.Option(help="Where tables and checkpoints go; about 90 kB a clip.")]
_SHIPPED = "fourth"  # the recipe of the packaged model
RecipeName = Annotated[str, typer.Option("--recipe", help="One of livemos.training.recipes.")]
Labelers = Annotated[str, typer.Option(help="Who scores the clips, by comma: names in livemos.training.labelers.")]
Kept = Annotated[Path | None, typer.Option(help="A folder of kept labels (training/labels_data).")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes that simulate and label: 1 if not given, on a cluster all its cores."),
]
Cluster = Annotated[str | None, typer.Option(help="Address of a Ray cluster, or local; needs the extra [cluster].")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of each training process.")]
Devices = Annotated[int, typer.Option(min=1, help="Processes that train together, one a GPU, or on the CPU.")]
Accelerator = Annotated[str, typer.Option(help="cpu, gpu, or auto: a GPU where there is one.")]
Precision = Annotated[str, typer.Option(help="32-true or bf16-mixed; Lightning knows more.")]
Loaders = Annotated[int, typer.Option(min=0, help="Processes that prepare batches; 0: the training process.")]
CheckpointEvery = Annotated[int | None, typer.Option(min=1, help="Steps between checkpoints; else the recipe's.")]


def _recipe(name: str) -> Recipe:
    from livemos.agent.errors import ConfigError
    from livemos.training.recipes import RECIPES

    if name not in RECIPES:
        raise ConfigError(f"recipe {name!r} is unknown; choose one of: {', '.join(sorted(RECIPES))}")
    return RECIPES[name]


def _jobs(data: Path, work: Path, recipe: Recipe, labelers: str, models: Path | None = None) -> list[TableJob]:
    """The tables of a recipe: validation, training, and what it adds to it."""
    from livemos.training.tables import TableJob, wanted_tables

    return [
        TableJob(
            data=data,
            folder=work / wanted.name,
            split=wanted.split,
            seed=wanted.seed,
            families=wanted.families,
            damage_set=wanted.damage_set,
            labelers=tuple(labelers.split(",")),
            models=models,
            name=wanted.name,
        )
        for wanted in wanted_tables(recipe)
    ]


@app.command()
def simulate(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the clips.")],
    clips: int = 20,
    recipe_name: RecipeName = _SHIPPED,
) -> None:
    """Write damaged clips to listen to, with what was done to each in manifest.jsonl."""
    import json

    import soundfile

    from livemos.agent.records import SAMPLE_RATE_HZ
    from livemos.training.simulator import FAMILY_CLIPS
    from livemos.training.tables import open_simulator

    simulator = open_simulator(_jobs(data, out, _recipe(recipe_name), "pesq")[-1])
    out.mkdir(parents=True, exist_ok=True)
    with (out / "manifest.jsonl").open("w", encoding="utf-8") as manifest:
        for family in range(-(-clips // FAMILY_CLIPS)):
            for clip in simulator.family(family):
                name = f"{family:05d}-{clip.member}.flac"
                soundfile.write(out / name, clip.samples, SAMPLE_RATE_HZ, subtype="PCM_16")
                row = {"file": name, "speaker": clip.speaker, "level_dbov": clip.level_dbov, "damages": clip.damages}
                manifest.write(json.dumps(row) + "\n")


@app.command()
def label(
    data: Data,
    work: Work,
    recipe_name: RecipeName = _SHIPPED,
    workers: Workers = None,
    labelers: Labelers = "pesq",
    kept: Kept = None,
    models: Annotated[Path | None, typer.Option(help="Folder of the models that some labelers need.")] = None,
    cluster: Cluster = None,
) -> None:
    """Simulate and label the clips of a recipe; goes on where it was interrupted. Kept labels are not made again."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from livemos.training import kept_labels
    from livemos.training.cluster import on_ray
    from livemos.training.tables import build, in_processes, missing_shards

    recipe = _recipe(recipe_name)
    spread = in_processes(workers or 1) if cluster is None else on_ray(cluster, workers)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("shards"))
    for job in _jobs(data, work, recipe, labelers, models):
        if kept is not None:
            kept_labels.restore(kept / (recipe.clips_of or recipe.name), job)
        with Progress(*columns, TimeRemainingColumn()) as progress:
            task = progress.add_task(f"labelling {job.name}", total=len(missing_shards(job)))
            for finished in build(job, spread=spread):
                progress.advance(task, finished)


@app.command()
def keep(
    data: Data,
    work: Work,
    out: Annotated[Path, typer.Option(help="Folder for the kept labels, one file a split.")],
    recipe_name: RecipeName = _SHIPPED,
) -> None:
    """Write truth and labels of a recipe's clips, without audio and features, into one compressed file a split."""
    from livemos.training import kept_labels

    recipe = _recipe(recipe_name)
    for job in _jobs(data, work, recipe, "pesq"):
        typer.echo(str(kept_labels.keep(job, out / (recipe.clips_of or recipe.name))))


@app.command()
def labels(work: Work) -> None:
    """How the labels of a work folder spread, kind by kind, and where the teachers disagree."""
    from rich.console import Console

    from livemos.training import label_report

    for split in ("val", "train"):
        label_report.show(split, label_report.report_labels(work / split), Console())


@app.command()
def fit(
    work: Work,
    recipe_name: RecipeName = _SHIPPED,
    threads: Threads = 1,
    devices: Devices = 1,
    accelerator: Accelerator = "auto",
    precision: Precision = "32-true",
    loaders: Loaders = 0,
    checkpoint_every: CheckpointEvery = None,
) -> None:
    """Train on the labelled clips; goes on from the latest checkpoint. Writes WORK/RECIPE/model.pt."""
    import os

    import torch
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from livemos.training import train

    torch.set_num_threads(threads)
    recipe = _recipe(recipe_name)
    machine = train.Machine(
        accelerator=accelerator,
        devices=devices,
        precision=precision,
        loaders=loaders,
        checkpoint_every_steps=checkpoint_every,
    )
    columns = (BarColumn(), TextColumn("{task.completed}/{task.total} {task.description}"))
    # further processes of the same run are this command again, with their number in LOCAL_RANK
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), disable=not first) as progress:
        task = progress.add_task("training", total=recipe.steps)
        begun = False

        def report(step: int, terms: dict[str, float]) -> None:
            nonlocal begun
            if not begun:
                # steps of an earlier process say nothing about the speed of this one
                progress.reset(task, completed=step - 1)
                begun = True
            progress.update(task, completed=step, description=f"loss {terms['total']:.3f} clip {terms['clip']:.3f}")

        model = train.fit(recipe, work, report, machine=machine)
    if first:
        typer.echo(str(model))


@app.command()
def probe(
    data: Data,
    checkpoint: Annotated[Path, typer.Option(help="model.pt of a finished run.")],
    clips: Annotated[int, typer.Option(min=1)] = 20,
    out: Annotated[Path | None, typer.Option(help="Also write the table as CSV.")] = None,
) -> None:
    """Known orders on unseen speech: prints a table and counts violations."""
    import numpy as np
    import torch
    from rich.console import Console

    from livemos.training import probe_report
    from livemos.training.checkpoint import load_model
    from livemos.training.probes import probe as run_probe

    model, facts = load_model(checkpoint)

    def score(features: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(model(torch.from_numpy(features)).numpy())

    result = run_probe(data, clips, score, facts["minimum_speech_ratio"])
    probe_report.show(result, Console())
    if out is not None:
        probe_report.write_csv(result, out)


@app.command(name="all")
def everything(
    data: Data,
    work: Work,
    recipe_name: RecipeName = _SHIPPED,
    workers: Workers = None,
    threads: Threads = 1,
    kept: Kept = None,
) -> None:
    """Label, fit and probe, each going on where it was interrupted: the checkpoint of a recipe from a data folder."""
    label(data, work, recipe_name, workers, kept=kept)
    fit(work, recipe_name, threads)
    probe(data, work / _recipe(recipe_name).name / "model.pt", 20, None)

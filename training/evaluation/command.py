"""`livemos evaluate`: how a bundle does beside listeners, beside public models, and under known damage.

Nothing heavy is imported before the command runs. Needs no torch: what is judged is the bundle that ships.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from livemos.training.evaluation.formats import Format

if TYPE_CHECKING:
    from rich.progress import Progress

    from livemos.training.evaluation.evaluation import Files
    from livemos.training.evaluation.figures import Row
    from livemos.training.evaluation.report import Section
    from livemos.training.evaluation.robustness import Robustness
    from livemos.training.evaluation.scored import Listener

app = typer.Typer(
    help="Judge a model bundle beside listeners and under known damage (needs the extra [train]).",
    add_completion=False,
    rich_markup_mode=None,
)

Bundle = Annotated[Path | None, typer.Option(help="Model bundle; default: the packaged one.")]
Out = Annotated[Path | None, typer.Option(help="Folder for tables, pictures and report.html.")]
Printed = Annotated[Format | None, typer.Option("--format", help="Default: table on a terminal, csv when piped.")]
Clean = Annotated[Path | None, typer.Option(help="Folder of clean recordings to damage, e.g. tests/data/clean.")]
Data = Annotated[Path | None, typer.Option(help="The data folder: rated/NAME/ratings.csv and the audio it names.")]


@app.callback(invoke_without_command=True)
def evaluate(
    context: typer.Context,
    data: Data = None,
    peers: Annotated[Path | None, typer.Option(help="Folder with scores/SET.csv of public models.")] = None,
    bundle: Bundle = None,
    out: Out = None,
    sets: Annotated[str, typer.Option(help="Names of sets, with commas; default: all.")] = "",
    clean: Clean = None,
    output_format: Printed = None,
    resamples: Annotated[int, typer.Option(min=50, help="Draws of the bootstrap.")] = 1000,
) -> None:
    """Score every rated clip and compare with its votes; with --clean also what `robustness` does.

    Prints the main figures as a table, or all of them as CSV or JSON lines.
    """
    if context.invoked_subcommand is not None:
        return
    from livemos.agent.errors import ConfigError
    from livemos.training.evaluation import evaluation, figures
    from livemos.training.evaluation.rated_sets import check_peers, read_sets
    from livemos.training.evaluation.scored import Listener

    if data is None:
        raise ConfigError("livemos evaluate needs --data DIR, the folder with the rated sets")
    rated = read_sets(data, [name.strip() for name in sets.split(",") if name.strip()])
    if peers is not None:
        check_peers(peers)
    listener = Listener(bundle)
    with _progress() as progress:
        task = progress.add_task("rated clips", total=sum(len(each.clips) for each in rated))
        result = evaluation.evaluate(rated, listener, peers, lambda: progress.advance(task), resamples)
        damaged = _robustness(clean, data, listener, progress) if clean else None
    if out is not None:
        files = evaluation.rated_files(result)
        sections = evaluation.rated_sections(result, files)
        if damaged is not None:
            files |= evaluation.robustness_files(damaged)
            sections += evaluation.robustness_sections(damaged, files)
        _write(out, files, sections, listener)
    _print(result.figures, figures.FIGURE_COLUMNS, output_format, listener)
    if damaged is not None:
        _print_damaged(damaged, output_format)


@app.command()
def robustness(
    clean: Annotated[Path, typer.Option(help="Folder of clean recordings to damage, e.g. tests/data/clean.")],
    data: Annotated[Path | None, typer.Option(help="The data folder, for its held-out noise and music.")] = None,
    bundle: Bundle = None,
    out: Out = None,
    output_format: Printed = None,
) -> None:
    """Damage clean clips in known ways, show what each score does, and count what is wrongly scored or left unset."""
    from livemos.training.evaluation import evaluation
    from livemos.training.evaluation.robustness import LADDER_COLUMNS
    from livemos.training.evaluation.scored import Listener

    listener = Listener(bundle)
    with _progress() as progress:
        damaged = _robustness(clean, data, listener, progress)
    if out is not None:
        files = evaluation.robustness_files(damaged)
        _write(out, files, evaluation.robustness_sections(damaged, files), listener)
    if _chosen(output_format) is Format.TABLE:
        _print_damaged(damaged, output_format)
    else:
        _print(damaged.ladder, LADDER_COLUMNS, output_format, listener)


def _robustness(clean: Path, data: Path | None, listener: Listener, progress: Progress) -> Robustness:
    from livemos.training.evaluation import robustness as measuring
    from livemos.training.evaluation.ladder import LADDER

    clips = measuring.read_clean(clean)
    others = measuring.recorded_sounds(data) if data else {}
    task = progress.add_task("known damage", total=len(LADDER) + 2)
    return measuring.measure(clips, others, listener.scorer, lambda: progress.advance(task))


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _write(out: Path, files: Files, sections: list[Section], listener: Listener) -> None:
    from livemos.training.evaluation.output import write
    from livemos.training.evaluation.report import html

    model = listener.scorer.model
    facts = [
        f"{model.model_id}, {model.engine}. 1 s segments every 0.5 s; nothing was fitted or chosen on these clips "
        "unless a column says so."
    ]
    write(out, files | {"report.html": html(f"{model.name} {model.version}: evaluation", facts, sections)})
    print(f"livemos: wrote {len(files) + 1} files to {out}", file=sys.stderr)


def _chosen(asked: Format | None) -> Format:
    return asked or (Format.TABLE if sys.stdout.isatty() else Format.CSV)


def _print(rows: list[Row], columns: tuple[str, ...], asked: Format | None, listener: Listener) -> None:
    from rich.console import Console

    from livemos.training.evaluation.output import csv_text, jsonl_text, show

    chosen = _chosen(asked)
    if chosen is Format.TABLE:
        show(rows, f"{listener.scorer.model.model_id} beside listeners", Console())
    else:
        sys.stdout.write(csv_text(rows, columns) if chosen is Format.CSV else jsonl_text(rows))


def _print_damaged(damaged: Robustness, asked: Format | None) -> None:
    """A table of its own; programs read ladder.csv and presence.csv."""
    if _chosen(asked) is not Format.TABLE:
        return
    from rich.console import Console

    from livemos.training.evaluation.output import show_rows
    from livemos.training.evaluation.robustness import PRESENCE_COLUMNS
    from livemos.training.evaluation.scored import DIMENSIONS

    console = Console()
    show_rows(damaged.ladder, ("damage", *DIMENSIONS), "clean, then mean change", console)
    show_rows(damaged.presence, PRESENCE_COLUMNS, "what must and must not be scored", console)

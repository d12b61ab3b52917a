"""`livemos evaluate`: how a bundle does beside listeners and public models, under known damage, and on simulation.

Nothing heavy is imported before the command runs. Needs no torch (but for `languages` without kept scores of the
reference): what is judged is the bundle that ships.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from livemos.training.evaluation.formats import Format

if TYPE_CHECKING:
    from rich.progress import Progress

    from livemos.agent.scorer import Scorer
    from livemos.training.evaluation.figures import Row
    from livemos.training.evaluation.robustness import Robustness
    from livemos.training.evaluation.scored import Listener
    from livemos.training.evaluation.simulation.judgement import Judgement

app = typer.Typer(
    help="Judge a model bundle beside listeners, under known damage and on simulation (needs the extra [train]).",
    add_completion=False,
    rich_markup_mode=None,
)

Bundle = Annotated[Path | None, typer.Option(help="Model bundle; default: the packaged one.")]
Out = Annotated[Path | None, typer.Option(help="Folder for tables, pictures and report.html.")]
Printed = Annotated[Format | None, typer.Option("--format", help="Default: table on a terminal, csv when piped.")]
Clean = Annotated[Path | None, typer.Option(help="Folder of clean recordings to damage, e.g. tests/data/clean.")]
Data = Annotated[Path | None, typer.Option(help="The data folder: rated/NAME/ratings.csv and the audio it names.")]
Resamples = Annotated[int, typer.Option(min=50, help="Draws of the bootstrap.")]
Work = Annotated[Path, typer.Option(help="Folder of `livemos train label`; its split val is held out.")]
Reference = Annotated[
    Path | None, typer.Option(help="CSV with Distill-MOS of the clean clips; made when it is not there.")
]


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
    resamples: Resamples = 1000,
) -> None:
    """Score every rated clip and compare with its votes; with --clean also what `robustness` does.

    Prints the main figures as a table, or all of them as CSV or JSON lines.
    """
    if context.invoked_subcommand is not None:
        return
    from livemos.agent.errors import ConfigError
    from livemos.training.evaluation import evaluation, figures
    from livemos.training.evaluation.printing import progress, write_report
    from livemos.training.evaluation.rated_sets import check_peers, read_sets
    from livemos.training.evaluation.scored import Listener

    if data is None:
        raise ConfigError("livemos evaluate needs --data DIR, the folder with the rated sets")
    rated = read_sets(data, [name.strip() for name in sets.split(",") if name.strip()])
    if peers is not None:
        check_peers(peers)
    listener = Listener(bundle)
    with progress() as bar:
        task = bar.add_task("rated clips", total=sum(len(each.clips) for each in rated))
        result = evaluation.evaluate(rated, listener, peers, lambda: bar.advance(task), resamples)
        damaged = _robustness(clean, data, listener, bar) if clean else None
    if out is not None:
        files = evaluation.rated_files(result)
        sections = evaluation.rated_sections(result, files)
        if damaged is not None:
            files |= evaluation.robustness_files(damaged)
            sections += evaluation.robustness_sections(damaged, files)
        write_report(out, files, sections, listener.scorer.model)
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
    from livemos.training.evaluation.printing import chosen, progress, write_report
    from livemos.training.evaluation.robustness import LADDER_COLUMNS
    from livemos.training.evaluation.scored import Listener

    listener = Listener(bundle)
    with progress() as bar:
        damaged = _robustness(clean, data, listener, bar)
    if out is not None:
        files = evaluation.robustness_files(damaged)
        write_report(out, files, evaluation.robustness_sections(damaged, files), listener.scorer.model)
    if chosen(output_format) is Format.TABLE:
        _print_damaged(damaged, output_format)
    else:
        _print(damaged.ladder, LADDER_COLUMNS, output_format, listener)


@app.command()
def simulation(
    work: Work,
    data: Annotated[
        Path | None, typer.Option(help="The data folder, to tell which recordings training never heard.")
    ] = None,
    bundle: Bundle = None,
    out: Out = None,
    output_format: Printed = None,
    resamples: Resamples = 1000,
) -> None:
    """Judge a bundle on held-out simulated clips: per damage, in order, by second; dimensions, doubt and causes."""
    from livemos.agent.scorer import Scorer
    from livemos.training.evaluation.printing import print_rows, progress, write_report
    from livemos.training.evaluation.simulation import figures, judgement

    with progress() as bar:
        result = _simulation(work, data, bundle, resamples, bar)
    if out is not None:
        files = judgement.files_of(result)
        write_report(out, files, judgement.sections_of(result, files), Scorer(bundle).model)
    shown = ("group", "name", "clips", "pearson", "bias", "inside_90")
    rows = [row for row in result.clips if row["column"] == "mos"]
    title = "MOS of held-out clips against their labels"
    print_rows(rows, figures.FIGURE_COLUMNS, output_format, title, shown, ("pearson",))


@app.command()
def languages(
    data: Annotated[Path, typer.Option(help="The data folder: manifest.csv and the recordings it names.")],
    reference: Reference = None,
    bundle: Bundle = None,
    out: Out = None,
    output_format: Printed = None,
    resamples: Resamples = 1000,
) -> None:
    """Mean score of clean speech per language, beside Distill-MOS on the same clips."""
    from livemos.agent.scorer import Scorer
    from livemos.training.evaluation import evaluation
    from livemos.training.evaluation.languages import LANGUAGE_COLUMNS
    from livemos.training.evaluation.printing import print_rows, progress, write_report

    scorer = Scorer(bundle)
    with progress() as bar:
        rows = _languages(data, reference, scorer, resamples, bar)
    if out is not None:
        files = evaluation.language_files(rows)
        write_report(out, files, evaluation.language_sections(rows), scorer.model)
    shown = ("language", "clips", "speakers", "livemos", "distill_mos", "difference", "beside_all")
    print_rows(rows, LANGUAGE_COLUMNS, output_format, "clean speech by language", shown, ("beside_all",))


@app.command()
def curve(
    speed: Annotated[Path, typer.Option(help="JSON lines of `livemos bench model --results`.")],
    judged: Annotated[list[Path], typer.Option(help="Folder NAME-VERSION of `evaluate all`; may be repeated.")],
    out: Out = None,
    batch: Annotated[int, typer.Option(min=1, help="Segments at once.")] = 1,
    output_format: Printed = None,
) -> None:
    """Accuracy beside cost of bundles and public models, from results that were kept: curve.csv and curve.png."""
    from livemos.training.evaluation import curve as drawing
    from livemos.training.evaluation.output import csv_text, write
    from livemos.training.evaluation.printing import print_rows

    rows = drawing.curve_rows(speed, judged, batch)
    if out is not None:
        picture = drawing.picture(rows, batch)
        write(out, {"curve.csv": csv_text(rows, drawing.CURVE_COLUMNS), "curve.png": picture})
    print_rows(rows, drawing.CURVE_COLUMNS, output_format, "accuracy beside cost")


@app.command(name="all")
def everything(
    data: Annotated[Path, typer.Option(help="The data folder.")],
    work: Work,
    clean: Annotated[Path, typer.Option(help="Folder of clean recordings to damage, e.g. tests/data/clean.")],
    out: Annotated[Path, typer.Option(help="Folder for tables and report.html, under 1.5 MB.")],
    peers: Annotated[Path | None, typer.Option(help="Folder with scores/SET.csv of public models.")] = None,
    reference: Reference = None,
    bundle: Bundle = None,
    output_format: Printed = None,
    resamples: Resamples = 1000,
) -> None:
    """All of it for one bundle, in one report. Speed is apart (`livemos bench model`): it wants a quiet machine."""
    from livemos.training.evaluation import evaluation, goals
    from livemos.training.evaluation.output import csv_text
    from livemos.training.evaluation.printing import print_rows, progress, write_report
    from livemos.training.evaluation.rated_sets import check_peers, read_sets
    from livemos.training.evaluation.scored import Listener
    from livemos.training.evaluation.simulation import judgement

    rated = read_sets(data, [])
    if peers is not None:
        check_peers(peers)
    listener = Listener(bundle)
    with progress() as bar:
        task = bar.add_task("rated clips", total=sum(len(each.clips) for each in rated))
        beside = evaluation.evaluate(rated, listener, peers, lambda: bar.advance(task), resamples)
        damaged = _robustness(clean, data, listener, bar)
        simulated = _simulation(work, data, bundle, resamples, bar)
        spoken = _languages(data, reference, listener.scorer, resamples, bar)
    asked = goals.goal_rows(beside.figures, damaged, simulated)
    files = evaluation.rated_files(beside) | evaluation.robustness_files(damaged)
    files |= judgement.files_of(simulated) | evaluation.language_files(spoken)
    files["goals.csv"] = csv_text(asked, goals.GOAL_COLUMNS)
    sections = [
        evaluation.goal_section(asked),
        *evaluation.rated_sections(beside, files),
        *judgement.sections_of(simulated, files),
        *evaluation.robustness_sections(damaged, files),
        *evaluation.language_sections(spoken),
    ]
    write_report(out, files, sections, listener.scorer.model, small=True)
    shown = ("where", "wanted", "got", "met")
    print_rows(asked, goals.GOAL_COLUMNS, output_format, "what was asked for, and what it does", shown)


def _robustness(clean: Path, data: Path | None, listener: Listener, bar: Progress) -> Robustness:
    from livemos.training.evaluation import robustness as measuring
    from livemos.training.evaluation.ladder import LADDER

    clips = measuring.read_clean(clean)
    others = measuring.recorded_sounds(data) if data else {}
    task = bar.add_task("known damage", total=len(LADDER) + 2)
    return measuring.measure(clips, others, listener.scorer, lambda: bar.advance(task))


def _simulation(work: Path, data: Path | None, bundle: Path | None, resamples: int, bar: Progress) -> Judgement:
    from livemos.training.evaluation.simulation import judgement
    from livemos.training.evaluation.simulation.heldout import read_heldout
    from livemos.training.sources import read_manifest

    repositories = {each.path: each.repository for each in read_manifest(data)} if data else {}
    task = bar.add_task("held-out clips", total=None)
    heldout = read_heldout(work, bundle, lambda clips: bar.advance(task, clips))
    return judgement.judge(heldout, repositories, resamples)


def _languages(data: Path, reference: Path | None, scorer: Scorer, resamples: int, bar: Progress) -> list[Row]:
    import numpy as np

    from livemos.training.evaluation import languages as speaking

    clips = speaking.read_clean_set(data)
    if reference is not None and reference.exists():
        beside = speaking.read_reference(reference, clips)
    else:
        task = bar.add_task("Distill-MOS", total=len(clips))
        beside = speaking.ask_reference(data, clips, lambda: bar.advance(task))
        if reference is not None:
            reference.parent.mkdir(parents=True, exist_ok=True)
            reference.write_text(speaking.reference_text(beside), encoding="utf-8")
    task = bar.add_task("clean clips", total=len(clips))
    mos = speaking.score_clips(data, clips, scorer, lambda: bar.advance(task))
    return speaking.language_rows(clips, mos, np.array([beside[clip.path] for clip in clips]), resamples)


def _print(rows: list[Row], columns: tuple[str, ...], asked: Format | None, listener: Listener) -> None:
    from rich.console import Console

    from livemos.training.evaluation.output import csv_text, jsonl_text, show
    from livemos.training.evaluation.printing import chosen

    output_format = chosen(asked)
    if output_format is Format.TABLE:
        show(rows, f"{listener.scorer.model.model_id} beside listeners", Console())
    else:
        sys.stdout.write(csv_text(rows, columns) if output_format is Format.CSV else jsonl_text(rows))


def _print_damaged(damaged: Robustness, asked: Format | None) -> None:
    """Tables of their own; programs read ladder.csv and presence.csv."""
    from livemos.training.evaluation.printing import chosen

    if chosen(asked) is not Format.TABLE:
        return
    from rich.console import Console

    from livemos.training.evaluation.output import show_rows
    from livemos.training.evaluation.robustness import PRESENCE_COLUMNS
    from livemos.training.evaluation.scored import DIMENSIONS

    console = Console()
    show_rows(damaged.ladder, ("damage", *DIMENSIONS), "clean, then mean change", console)
    shown = ("damage", "mos", "worst_second", "lowered_ratio")
    show_rows(damaged.ladder, shown, "MOS with its 95 % interval, the lowest second, clips lowered", console, ("mos",))
    show_rows(damaged.presence, PRESENCE_COLUMNS, "what must and must not be scored", console)

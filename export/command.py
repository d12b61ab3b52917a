"""`livemos export`: a checkpoint into a bundle, or a bundle checked on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Write or check a model bundle (needs the extra [export]).", add_completion=False, rich_markup_mode=None
)


@app.callback(invoke_without_command=True)
def export(
    checkpoint: Annotated[Path | None, typer.Option(help="model.pt of a finished training run.")] = None,
    out: Annotated[Path | None, typer.Option(help="The bundle to write, NAME.livemos.")] = None,
    check: Annotated[
        Path | None, typer.Option(help="A bundle to check instead: hashes, format, parity; prints its card.")
    ] = None,
    plans: Annotated[
        Path | None, typer.Option(help="A bundle to build TensorRT plans of instead; needs no GPU for tensorrt-rtx.")
    ] = None,
    toolkit: Annotated[str, typer.Option(help="With --plans: tensorrt-rtx, or tensorrt on the GPU itself.")] = (
        "tensorrt-rtx"
    ),
    plan_folder: Annotated[Path | None, typer.Option(help="With --plans: where; default: the user's cache.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model; default: livemos-RECIPE.")] = None,
    version: Annotated[str | None, typer.Option(help="Version of the model; default: the recipe's.")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Recordings (wav, flac, 16 kHz) that set the scales of the int8 graph; none: no such graph."),
    ] = None,
) -> None:
    """Export a checkpoint as a bundle, or check one."""
    from livemos.agent.bundle import load_bundle
    from livemos.export.parity import require_parity

    if check is not None:
        bundle = load_bundle(check)
        differences = require_parity(bundle)
        typer.echo(f"{check}: {bundle.manifest.model_id} is sound; against the trained network on this machine:")
        for each in differences:
            typer.echo(f"  {each.precision:5} {each.rms_mos:.1e} MOS (RMS), {each.max_mos:.1e} at most")
        typer.echo("\n" + bundle.files.get("MODEL_CARD.md", b"").decode())
        return
    if plans is not None:
        _build_plans(plans, toolkit, plan_folder)
        return
    if checkpoint is None or out is None:
        raise typer.BadParameter("give --checkpoint FILE and --out BUNDLE, --check BUNDLE or --plans BUNDLE")
    from livemos.export.bundle import ExportOptions, export_bundle
    from livemos.training.checkpoint import load_model

    model, facts = load_model(checkpoint)
    options = ExportOptions(name=name, version=version, calibration=calibration, report=_report)
    bundle = export_bundle(model, facts, out, options)
    typer.echo(f"{out}: {bundle.manifest.model_id}, {out.stat().st_size:,} bytes")
    for spec in bundle.manifest.graphs:
        on_speech = "" if spec.speech_rms_mos is None else f", {spec.speech_rms_mos:.1e} on other speech"
        typer.echo(
            f"  {spec.file:16} {len(bundle.files[spec.file]):>10,} bytes, from the network "
            f"{spec.rms_mos:.1e} MOS (RMS), {spec.max_mos:.1e} at most{on_speech}"
        )


def _build_plans(bundle: Path, toolkit: str, folder: Path | None) -> None:
    from livemos.agent.bundle import load_bundle
    from livemos.agent.engine.plans import PlanCache, default_folder
    from livemos.export.tensorrt_toolkits import TOOLKITS
    from livemos.export.to_tensorrt import build_plans

    if toolkit not in TOOLKITS:
        raise typer.BadParameter(f"--toolkit {toolkit}: choose one of {', '.join(TOOLKITS)}")
    cache = PlanCache(folder or default_folder())
    for built in build_plans(load_bundle(bundle), cache, toolkit=toolkit, report=_report):
        how = f"built in {built.seconds:.1f} s" if built.seconds else "was there"
        typer.echo(f"{built.path}: {built.precision}, {built.plan_bytes:,} bytes, {how}; not executed here")


def _report(step: str) -> None:
    typer.echo(f"export: {step}", err=True)

"""`livemos bench kernels`: the fused operators against plain torch, `torch.compile` and a copy, on this GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Time the GPU kernels (needs the extra [gpu] and a GPU).", add_completion=False, rich_markup_mode=None
)


@app.callback(invoke_without_command=True)
def bench_kernels(
    operator: Annotated[list[str] | None, typer.Option(help="Which one; default: all. May be repeated.")] = None,
    tests: Annotated[Path, typer.Option(help="Folder of the kernels' tests.")] = Path("tests/unit/kernels"),
    results: Annotated[Path, typer.Option(help="JSONL that rows are appended to.")] = Path(
        "docs/results/kernels.jsonl"
    ),
    plot: Annotated[Path | None, typer.Option(help="PNG of achieved bandwidth over sizes.")] = None,
) -> None:
    """Test the operators, then time them; refuse both without a GPU."""
    from livemos.kernels.benchmarks.plot import plot_bandwidth, read_rows
    from livemos.kernels.benchmarks.registry import BENCHMARKS
    from livemos.kernels.benchmarks.run import BenchmarkRefusedError, run

    chosen = operator or list(BENCHMARKS)
    unknown = [name for name in chosen if name not in BENCHMARKS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(BENCHMARKS)}")
    try:
        for row in run(chosen, tests, results):
            size = " x ".join(map(str, row["size"]))
            typer.echo(
                f"{row['operator']:13} {size:18} {row['dtype']:9} {row['way']:14} "
                f"{row['median_ms']:8.3f} ms {row['gigabytes_per_second']:7.0f} GB/s"
            )
    except BenchmarkRefusedError as refused:
        typer.echo(f"bench kernels: {refused}", err=True)
        raise typer.Exit(1) from None
    if plot is not None:
        plot_bandwidth(read_rows(results), plot)
        typer.echo(f"{plot}: {plot.stat().st_size:,} bytes")


if __name__ == "__main__":
    app()

"""`livemos bench`: what this machine holds, measured with real packets and a real subscriber."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from livemos.agent.commands.output import Format, choose_format, print_rows
from livemos.agent.errors import ConfigError
from livemos.agent.lazy_commands import Benchmarks

app = typer.Typer(cls=Benchmarks, no_args_is_help=True, add_completion=False, rich_markup_mode=None)

ENCODINGS = {"pcmu": ("PCMU/8000", 0), "pcma": ("PCMA/8000", 8), "g722": ("G722/8000", 9), "opus": ("opus/48000/2", 96)}

AGENT_COLUMNS = (
    "streams",
    "codec",
    "seconds",
    "cpu_share",
    "latency_p50_ms",
    "latency_p90_ms",
    "latency_p99_ms",
    "playout_delay_ms",
    "segments_expected",
    "segments_received",
    "sent_packets",
    "lost_packets",
    "socket_drops",
    "rss_mib",
    "model_id",
)


@app.callback()
def bench() -> None:
    """Measure: streams a core holds, latency, engines, kernels."""


@app.command()
def agent(
    streams: Annotated[str, typer.Option("--streams", help="How many at once; several runs with commas.")] = "25,100",
    seconds: Annotated[float, typer.Option("--seconds", min=5, help="Measured time of each run.")] = 20.0,
    codec: Annotated[str, typer.Option("--codec", help=", ".join(ENCODINGS))] = "pcmu",
    core: Annotated[int | None, typer.Option("--core", help="Pin the agent to this core.")] = 0,
    engine: Annotated[str, typer.Option("--engine", help="Engine by name.")] = "onnxruntime",
    results: Annotated[
        Path | None, typer.Option("--results", help="Append rows with machine and versions, JSONL.")
    ] = None,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Default: table on a terminal, csv when piped.")
    ] = None,
) -> None:
    """An agent process on one core, N calls of real RTP from another process, a gRPC subscriber in this one.

    Latency runs from the play-out of a segment's last sample to its arrival here; the delay of the listener profile is
    a column of its own. cpu_share is of one core and counts the agent process alone.
    """
    from livemos.agent.commands.bench_agent import measure
    from livemos.agent.commands.environment import append_results

    if codec not in ENCODINGS:
        raise ConfigError(f"--codec {codec}: choose one of {', '.join(ENCODINGS)}")
    counts = [int(count) for count in streams.split(",") if count.strip().isdigit()]
    if not counts or min(counts) < 1:
        raise ConfigError(f"--streams {streams}: give whole numbers with commas, for example 25,100")
    encoding, payload_type = ENCODINGS[codec]
    rows = []
    for count in counts:
        row = measure(count, seconds=seconds, encoding=encoding, payload_type=payload_type, core=core, engine=engine)
        rows.append({"codec": codec, **row})
        if results is not None:
            append_results(results, "agent", rows[-1])
    print_rows(rows, AGENT_COLUMNS, choose_format(output_format))

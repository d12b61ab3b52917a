"""`livemos bench rtp`: how many RTP streams one core holds, from the packet to the subscriber."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from livemos.agent.commands.bench import ENCODINGS
from livemos.agent.commands.options import BundleOption
from livemos.agent.commands.output import Format, choose_format, print_rows
from livemos.agent.errors import ConfigError

Row = dict[str, object]

LARGEST_CPU_SHARE, LARGEST_P99_MS = 0.9, 150.0
LEAST_RECEIVED_RATIO = 0.99  # of the segments expected: the run begins and ends between two of them
FINEST_STEP = 1.05  # a search ends when the next number would be less than 5 % away

COLUMNS = (
    "streams",
    "codec",
    "holds",
    "seconds",
    "cpu_share",
    "cpu_receive",
    "cpu_scoring",
    "cpu_grpc",
    "latency_p50_ms",
    "latency_p90_ms",
    "latency_p99_ms",
    "segments_expected",
    "segments_received",
    "sent_packets",
    "lost_packets",
    "socket_drops",
    "rss_mib",
    "rss_growth_mib",
    "generator_late_ms",
    "model_id",
)


def rtp(
    streams: Annotated[int, typer.Option("--streams", min=1, help="Calls at once; where a search begins.")] = 100,
    codec: Annotated[str, typer.Option("--codec", help=", ".join(ENCODINGS))] = "pcmu",
    seconds: Annotated[float, typer.Option("--seconds", min=5, help="Measured time of each run.")] = 30.0,
    core: Annotated[int, typer.Option("--pin-core", help="Core of the agent; all else runs on the others.")] = 0,
    search: Annotated[bool, typer.Option("--search", help="Look for the largest number that holds.")] = False,
    engine: Annotated[str, typer.Option("--engine", help="Engine by name.")] = "onnxruntime",
    bundle: BundleOption = None,
    clips: Annotated[
        Path | None, typer.Option("--clips", help="Folder of FLAC files to play; default: the packaged clip.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", help="Append rows with machine and versions, JSONL.")
    ] = None,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Default: table on a terminal, csv when piped.")
    ] = None,
) -> None:
    """How many RTP streams one core holds: the agent pinned to it, generator and gRPC subscriber on the others.

    A number holds when the socket dropped nothing, the agent took less than 90 % of its core, 99 % of the scores came
    within 150 ms of the play-out of their last sample, and all came. cpu_*: shares of the core, of the agent's threads.
    """
    from livemos.agent.commands.environment import append_results
    from livemos.agent.commands.rtp_load import measure

    if codec not in ENCODINGS:
        raise ConfigError(f"--codec {codec}: choose one of {', '.join(ENCODINGS)}")
    encoding, payload_type = ENCODINGS[codec]

    def run(count: int) -> Row:
        row: Row = measure(
            count,
            seconds=seconds,
            encoding=encoding,
            payload_type=payload_type,
            core=core,
            engine=engine,
            bundle=bundle,
            clips=clips,
        )
        row = {"codec": codec, "holds": holds(row), **row}
        if results is not None:
            append_results(results, "rtp", row)
        return row

    rows = list(search_largest(streams, run)) if search else [run(streams)]
    print_rows(rows, COLUMNS, choose_format(output_format))


def holds(row: Row) -> bool:
    """Whether a run kept every promise."""

    def number(name: str) -> float:
        return float(str(row[name]))

    return (
        number("socket_drops") == 0
        and number("cpu_share") < LARGEST_CPU_SHARE
        and number("latency_p99_ms") <= LARGEST_P99_MS
        and number("segments_received") >= LEAST_RECEIVED_RATIO * number("segments_expected")
    )


def search_largest(first: int, run: Callable[[int], Row]) -> list[Row]:
    """Runs of doubled numbers until one does not hold, then of numbers between; the row of the largest that held last.

    Where none held, the smallest that was tried stands last.
    """
    rows: dict[int, Row] = {}
    low, high, count = 0, 0, first
    while not high or (low and high > FINEST_STEP * low) or (not low and high > 1):
        rows[count] = run(count)
        if rows[count]["holds"]:
            low = count
        else:
            high = count
        if not high:
            count = 2 * low
        elif low:
            count = (low + high) // 2
            if count in rows:
                break
        else:
            count = high // 2
    best = rows.pop(low or high)
    return [*rows.values(), best]

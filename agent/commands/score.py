"""`livemos score`: audio files and folders to scores; a table for people, CSV or JSON lines for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from livemos.agent.commands.options import BundleOption
from livemos.agent.commands.output import Format, Row, choose_format, print_rows
from livemos.agent.commands.run import parse_payload_type
from livemos.agent.errors import ConfigError, SourceError
from livemos.agent.file_names import shown

if TYPE_CHECKING:
    from livemos.agent.records import ClipScore
    from livemos.agent.scorer import Scorer

# promised: names and order stay, new columns are added at the end
CLIP_COLUMNS = (
    "file",
    "seconds",
    "speech_seconds",
    "sample_rate_hz",
    "mos",
    "mos_std",
    "noisiness",
    "coloration",
    "discontinuity",
    "loudness",
    "reason",
    "model_id",
    "cause",
    "cause_probability",
    "snr_db",
)
SEGMENT_COLUMNS = ("file", "start_seconds", *CLIP_COLUMNS[1:])
# what a table shows of them, so that a row fits a screen
CLIP_HEADINGS = {
    "file": "file",
    "seconds": "s",
    "speech_seconds": "speech",
    "mos": "MOS",
    "mos_std": "±",
    "noisiness": "noise",
    "coloration": "color",
    "discontinuity": "disco",
    "loudness": "loud",
    "cause": "cause",
    "reason": "reason",
}
SEGMENT_HEADINGS = {"file": "file", "start_seconds": "at s", **{k: v for k, v in CLIP_HEADINGS.items() if k != "file"}}


class Profile(StrEnum):
    """Of agent/rtp/playout.py, which is not imported here: the command line starts without the agent."""

    IDEAL = "ideal"
    FIXED50 = "fixed50"
    FIXED200 = "fixed200"
    ADAPTIVE500 = "adaptive500"


CAPTURE_SUFFIXES = (".pcap", ".pcapng", ".cap")

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def score(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE|DIR...", help="Audio files, or folders of them.")],
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Default: table on a terminal, csv when piped.")
    ] = None,
    segments: Annotated[bool, typer.Option("--segments", help="One row a 1 s segment instead of one a file.")] = False,
    fail_below: Annotated[
        float | None,
        typer.Option("--fail-below", metavar="MOS", help="Exit 1 when a file's mos is lower, or unset."),
    ] = None,
    bundle: BundleOption = None,
    engine: Annotated[str, typer.Option("--engine", help="Engine by name.")] = "onnxruntime",
    payload_type: Annotated[
        list[str] | None,
        typer.Option("--payload-type", metavar="PT=ENCODING", help="For captures, e.g. 111=opus/48000/2."),
    ] = None,
    sdp: Annotated[Path | None, typer.Option("--sdp", help="Session description, for captures.")] = None,
    profile: Annotated[
        list[Profile] | None,
        typer.Option("--profile", help="Listener of a capture, repeatable; each gets rows of its own. Default: ideal."),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=64, help="Processes that score a capture; the results are the same.")
    ] = 1,
) -> None:
    """Score audio files, or the streams of captures (.pcap, .pcapng).

    MOS, noisiness, coloration, discontinuity, loudness: 1 to 5, higher is better. cause: what lowers the score most.

    The mos of a file is the speech-weighted mean of its 1 s segments at 0.5 s stride. A score that cannot be given is
    empty and `reason` says why. Exit codes: 0 fine, 1 below --fail-below, 2 a file could not be read as a whole.
    """
    from livemos.agent.scorer import Scorer

    captures = [path for path in paths if path.suffix.lower() in CAPTURE_SUFFIXES]
    if captures:
        if len(captures) < len(paths):
            raise ConfigError("captures and audio files have different columns: score them in two calls")
        from livemos.agent.commands import score_capture

        payload_types = dict(parse_payload_type(text) for text in payload_type or [])
        score_capture.run(
            captures,
            output_format=choose_format(output_format),
            segments=segments,
            fail_below=fail_below,
            bundle=bundle,
            engine=engine,
            payload_types=payload_types,
            sdp=sdp,
            profiles=tuple(each.value for each in profile or [Profile.IDEAL]),
            workers=workers,
        )
        return
    run = _Run(Scorer(bundle, engine=engine), fail_below)
    chosen = choose_format(output_format)
    if segments:
        print_rows(run.segment_rows(paths), SEGMENT_COLUMNS, chosen, headings=SEGMENT_HEADINGS)
    else:
        print_rows(run.clip_rows(paths), CLIP_COLUMNS, chosen, headings=CLIP_HEADINGS)
    if run.unreadable:
        raise typer.Exit(2)
    if run.below:
        print(f"livemos: {run.below} of {run.scored} files below {fail_below} or without a score", file=sys.stderr)
        raise typer.Exit(1)


class _Run:
    """One call of the command: what was scored, what was not, what fell below the limit."""

    def __init__(self, scorer: Scorer, fail_below: float | None) -> None:
        self._scorer = scorer
        self._fail_below = fail_below
        self.scored = 0
        self.unreadable = 0
        self.below = 0

    def clip_rows(self, paths: list[Path]) -> Iterator[Row]:
        for file, clip in self._clips(paths):
            yield {"file": shown(file), **{name: _plain(getattr(clip, name)) for name in CLIP_COLUMNS[1:]}}

    def segment_rows(self, paths: list[Path]) -> Iterator[Row]:
        from livemos.agent.records import SAMPLE_RATE_HZ, SEGMENT_SECONDS

        for file, clip in self._clips(paths):
            for segment in clip.segments:
                row = {name: _plain(getattr(segment, name, None)) for name in CLIP_COLUMNS[1:]}
                row["file"] = shown(file)
                row["start_seconds"] = segment.start_sample / SAMPLE_RATE_HZ
                row["seconds"] = SEGMENT_SECONDS
                row["sample_rate_hz"] = clip.sample_rate_hz
                if segment.speech_ratio is not None:
                    row["speech_seconds"] = segment.speech_ratio * SEGMENT_SECONDS
                yield row

    def _clips(self, paths: list[Path]) -> Iterator[tuple[Path, ClipScore]]:
        from livemos.agent.sources.file import audio_files, read_audio

        for path in paths:
            try:
                files = audio_files(path)
            except SourceError as error:
                self._refuse(error)
                continue
            for file in files:
                try:
                    samples, sample_rate_hz = read_audio(file)
                except SourceError as error:
                    self._refuse(error)
                    continue
                clip = self._scorer.score(samples, sample_rate_hz)
                self.scored += 1
                if self._fail_below is not None and (clip.mos is None or clip.mos < self._fail_below):
                    self.below += 1
                yield file, clip

    def _refuse(self, error: SourceError) -> None:
        self.unreadable += 1
        print(f"livemos: {error}", file=sys.stderr)


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else value

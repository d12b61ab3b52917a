"""The meter's drawing: records in, lines of text out, at fixed widths."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from livemos.agent.causes import Cause
from livemos.agent.commands.meter import Meter, MeterHeader, mos_style, sparkline
from livemos.agent.feed_ring import Gap, MissedRange
from livemos.agent.reasons import Reason
from livemos.agent.records import (
    EventKind,
    FeedItem,
    MediaStatistics,
    RollingScore,
    RollingWindow,
    SegmentScore,
    SourceEvent,
    SourceSnapshot,
    StreamDescription,
    StreamState,
)

HEADER = MeterHeader(server="127.0.0.1:50561", model="m-1-0")


def segment(source_id: str, mos: float | None, *, reason: Reason | None = None, cause: Cause | None = None) -> FeedItem:
    score = SegmentScore(
        source_id=source_id,
        segment_index=0,
        start_sample=0,
        start_unix_seconds=0.0,
        ready_unix_seconds=1.0,
        mos=mos,
        mos_std=None if mos is None else 0.31,
        noisiness=mos,
        coloration=mos,
        discontinuity=mos,
        loudness=mos,
        level_dbov=-26.4,
        cause=cause,
        reason=reason,
    )
    return FeedItem(sequence=1, payload=score)


def rolling(source_id: str, state: StreamState = StreamState.ACTIVE, mos: float | None = 3.5) -> FeedItem:
    score = RollingScore(
        source_id=source_id,
        segment_index=0,
        end_sample=16_000,
        ready_unix_seconds=1.0,
        windows=(RollingWindow(window_seconds=5.0, mos=1.0), RollingWindow(window_seconds=None, mos=mos)),
        state=state,
        media=MediaStatistics(codec="PCMU/8000", expected_packets=1_000, lost_packets=20, late_packets=5),
    )
    return FeedItem(sequence=2, payload=score)


def event(source_id: str, kind: EventKind) -> FeedItem:
    return FeedItem(sequence=3, payload=SourceEvent(source_id=source_id, kind=kind, unix_seconds=1.0))


def drawn(
    meter: Meter, *, width: int = 80, height: int | None = None, utf8: bool = True, header: MeterHeader = HEADER
) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    console.print(meter.draw(header, width=width, height=height, utf8=utf8))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def line_of(text: str, source_id: str) -> str:
    return next(line for line in text.splitlines() if line[2:].startswith(source_id))


def meter_with(*updates: FeedItem | Gap) -> Meter:
    meter = Meter()
    for update in updates:
        meter.accept(update)
    return meter


def test_a_row_shows_bar_number_deviation_dimensions_level_loss_codec_and_state() -> None:
    """Everything one looks for during a complaint, in one line."""
    text = drawn(meter_with(segment("mic", 3.0), rolling("mic")), width=130)
    line = line_of(text, "mic")
    assert "████████░░░░░░░░ 3.00±0.31" in line
    assert line.split()[-8:] == ["3.0", "3.0", "3.0", "3.0", "-26", "2.5", "PCMU/8000", "active"]
    assert "127.0.0.1:50561  m-1-0" in text
    assert "1 sources, 1 active  mean 3.00  lowest 3.00 (mic)  2 updates" in text


def test_the_cause_of_the_newest_segment_has_a_column_where_the_model_gives_causes() -> None:
    """What to look for stands beside the number; with a model that says nothing of it the column is not there."""
    meter = meter_with(segment("mic", 2.0, cause=Cause.ECHO_OR_TALKER), rolling("mic"), segment("old", 2.0))
    lines = drawn(meter).splitlines()
    place = lines[1].index("cause")
    assert line_of("\n".join(lines), "mic")[place:].split()[:2] == ["echo/talk", "-26"]
    assert line_of("\n".join(lines), "old")[place:].split()[:2] == ["-", "-26"]
    meter.accept(segment("mic", None, reason=Reason.SILENCE, cause=None))
    assert "echo" not in drawn(meter)
    assert "cause" not in drawn(meter_with(segment("mic", 2.0), rolling("mic")), width=200)


@pytest.mark.parametrize("width", [80, 96, 106, 120, 140])
def test_the_cause_costs_no_number_its_digits(width: int) -> None:
    """A column that is squeezed in would cut the last ones off, level and loss."""
    bridge = "bridge-north/192.168.100.200:54321/0xdeadbeef"
    meter = meter_with(segment(bridge, 2.0, cause=Cause.ECHO_OR_TALKER), rolling(bridge))
    assert "2.0 2.0 2.0 2.0 echo/talk  -26   2.5" in line_of(drawn(meter, width=width), "bridge")


def test_a_dead_stream_shows_no_cause() -> None:
    """Yesterday's echo beside a call that has ended would be looked for."""
    updates = [segment("s", 2.0, cause=Cause.LOSS), rolling("s"), event("s", EventKind.SOURCE_ENDED)]
    assert "loss " not in line_of(drawn(meter_with(*updates)), "s ")


@pytest.mark.parametrize("cause", [None, Cause.ECHO_OR_TALKER])
@pytest.mark.parametrize("width", [60, 80, 96, 130, 200])
def test_no_line_is_wider_than_the_terminal_and_each_source_takes_one(width: int, cause: Cause | None) -> None:
    """A wrapped line breaks the redraw: the meter would crawl up the screen."""
    names = ("mic", "bridge-north/192.168.100.200:54321/0xdeadbeef", "x" * 90)
    meter = meter_with(*(segment(name, 4.2, cause=cause) for name in names), *(rolling(name) for name in names))
    lines = drawn(meter, width=width, header=dataclasses.replace(HEADER, model="")).splitlines()
    assert max(len(line) for line in lines) <= width
    assert len(lines) == 1 + 1 + len(names) + 2


def test_a_long_source_id_keeps_its_beginning_and_its_end() -> None:
    """Streams of one socket differ in their last digits."""
    text = drawn(meter_with(segment("bridge/192.168.100.200:54321/0xdeadbeef", 4.0)))
    assert "bridge/" in text
    assert "beef" in text


@pytest.mark.parametrize(
    ("updates", "words"),
    [
        ([segment("s", None, reason=Reason.NO_SPEECH), rolling("s")], "no speech"),
        ([segment("s", 4.0), rolling("s", StreamState.STALLED), event("s", EventKind.MEDIA_STALLED)], "no media"),
        ([segment("s", 4.0), event("s", EventKind.DEVICE_LOST)], "no media"),
        ([event("s", EventKind.UNKNOWN_PAYLOAD_TYPE)], "unsupported codec"),
        ([event("s", EventKind.SOURCE_STARTED)], "warming up"),
        ([segment("s", 4.0), rolling("s"), event("s", EventKind.SOURCE_ENDED)], "ended, call 3.50"),
    ],
)
def test_a_source_without_a_score_shows_why_in_the_bars_place(updates: list[FeedItem], words: str) -> None:
    """An old number beside a dead stream would be read as a good call."""
    line = line_of(drawn(meter_with(*updates), width=130), "s ")
    assert words in line
    assert "4.00" not in line


def test_a_stream_that_comes_back_shows_its_score_again() -> None:
    """The reason must not stick."""
    meter = meter_with(
        segment("s", 4.0),
        event("s", EventKind.MEDIA_STALLED),
        event("s", EventKind.MEDIA_RESUMED),
        segment("s", 3.25),
    )
    assert "3.25" in line_of(drawn(meter), "s ")


def test_the_sparkline_holds_sixty_seconds_newest_at_the_right_and_shows_the_worst_of_each_cell() -> None:
    """Half a second of damage must be seen though a cell spans two seconds."""
    assert sparkline([], 10).plain == " " * 10
    assert sparkline([5.0] * 120, 10).plain == "█" * 10
    assert sparkline([1.0] * 12 + [5.0] * 108, 10).plain == "▁" + "█" * 9
    assert sparkline([5.0] * 119 + [1.0], 10).plain == "█" * 9 + "▁"
    assert sparkline([None] * 6 + [3.0] * 6, 10).plain == " " * 9 + "▅"
    assert sparkline([1.0, None, 5.0], 120, utf8=False).plain == " " * 117 + "_ #"
    meter = meter_with(*(segment("s", 1.0) for _ in range(500)))
    assert len(meter.rows()[0].history) == 120


def test_without_utf8_everything_drawn_is_ascii() -> None:
    """A serial console and a C locale show scores too."""
    updates = [segment("a" * 60, 3.0), rolling("a" * 60), *(event(state, EventKind.SOURCE_ENDED) for state in "bc")]
    text = drawn(meter_with(*updates), utf8=False)
    assert text.isascii()
    assert "###... 3.00~0.31" in text


def test_more_sources_than_lines_are_counted_and_the_ended_ones_go_first() -> None:
    """The drawing must fit the terminal, and say what it leaves out."""
    meter = meter_with(*(segment(f"s{n:02}", 4.0) for n in range(30)), *(rolling(f"s{n:02}") for n in range(30)))
    meter.accept(event("s00", EventKind.SOURCE_ENDED))
    text = drawn(meter, height=24)
    assert len(text.splitlines()) <= 23
    assert "and 12 more" in text
    assert "s00" not in text
    assert "s01" in text


def test_a_gap_is_counted_in_the_footer() -> None:
    """Loss is always stated, to people as well."""
    gap = Gap(missed=(MissedRange(source_id="s", first_sequence=1, last_sequence=9, missed_items=7),))
    assert "7 missed" in drawn(meter_with(segment("s", 4.0), gap))


def test_snapshots_fill_the_rows_before_the_first_update() -> None:
    """A meter that starts in the middle of a call is not empty for half a second."""
    meter = Meter()
    assert "no sources yet" in drawn(meter)
    score = segment("s", 2.0).payload
    assert isinstance(score, SegmentScore)
    snapshot = SourceSnapshot(
        description=StreamDescription(source_id="s", kind="rtp"),
        state=StreamState.ACTIVE,
        started_unix_seconds=0.0,
        media=MediaStatistics(codec="pcm"),
        segment=score,
    )
    meter.accept_snapshots([snapshot])
    assert "2.00" in line_of(drawn(meter, width=130), "s ")
    waiting = dataclasses.replace(snapshot, state=StreamState.STALLED, reason=Reason.NO_MEDIA)
    meter.accept_snapshots([waiting])
    assert "no media" in line_of(drawn(meter, width=130), "s ")


def snapshot_of(source_id: str, state: StreamState = StreamState.ACTIVE) -> SourceSnapshot:
    return SourceSnapshot(
        description=StreamDescription(source_id=source_id, kind="rtp"),
        state=state,
        started_unix_seconds=0.0,
        media=MediaStatistics(),
    )


def test_after_a_reconnect_only_what_the_agent_still_knows_is_shown() -> None:
    """An agent that died told no end of its calls: they would stand there, active with a score, for ever."""
    meter = meter_with(segment("dead", 1.25), segment("alive", 4.0))
    meter.accept(event("over", EventKind.SOURCE_ENDED))
    meter.accept_snapshots([snapshot_of("alive"), snapshot_of("new")])
    assert [row.source_id for row in meter.rows()] == ["alive", "new"]
    assert list(meter.rows()[0].history) == [4.0]
    assert "2 sources, 2 active" in drawn(meter, width=130)
    meter.accept(segment("dead", 3.0))
    assert "3.00" in line_of(drawn(meter, width=130), "dead")


def test_of_the_calls_that_ended_only_the_newest_are_kept() -> None:
    """A meter that hangs on a wall sees a thousand calls an hour, for months."""
    meter = meter_with(segment("lasting", 4.0))
    for number in range(1_000):
        meter.accept(event(f"call-{number:04}", EventKind.SOURCE_STARTED))
        meter.accept(event(f"call-{number:04}", EventKind.SOURCE_ENDED))
        meter.accept(rolling(f"call-{number:04}", StreamState.ENDED))
    shown = [row.source_id for row in meter.rows()]
    assert shown == ["lasting", *(f"call-{number:04}" for number in range(700, 1_000))]


def test_a_call_that_began_again_is_not_forgotten_as_an_ended_one() -> None:
    """A source keeps its id over restarts; what counts is the state of its row."""
    meter = meter_with(event("again", EventKind.SOURCE_ENDED), event("again", EventKind.SOURCE_STARTED))
    for number in range(400):
        meter.accept(event(f"call-{number}", EventKind.SOURCE_ENDED))
    assert meter.rows()[0].source_id == "again"
    meter.accept_snapshots([snapshot_of(f"call-{number}", StreamState.ENDED) for number in range(400)])
    assert len(meter.rows()) == 300


def test_the_notice_of_a_lost_connection_is_shown() -> None:
    """Frozen numbers without it would be taken for live ones."""
    header = dataclasses.replace(HEADER, notice="no agent answers; trying again")
    assert "no agent answers; trying again" in drawn(Meter(), width=130, header=header)


def test_colours_follow_the_grades() -> None:
    """Colour repeats what the bar's length says."""
    assert [mos_style(mos) for mos in (1.0, 2.59, 2.6, 3.59, 3.6, 5.0)] == [
        "red",
        "red",
        "yellow",
        "yellow",
        "green",
        "green",
    ]

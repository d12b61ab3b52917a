"""The wire contract: its enums mirror the agent's, its records survive the way there and back, its code is in step."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from livemos.agent.causes import Cause
from livemos.agent.feed_filter import View
from livemos.agent.feed_ring import Gap, MissedRange
from livemos.agent.reasons import Reason
from livemos.agent.records import (
    EventKind,
    FeedItem,
    Mark,
    MediaStatistics,
    RollingScore,
    RollingWindow,
    SegmentScore,
    SourceEvent,
    SourceSnapshot,
    StreamDescription,
    StreamState,
)
from livemos.agent.servers import wire
from livemos.proto import generate
from livemos.proto.quality.v1 import quality_pb2 as pb

SEGMENT = SegmentScore(
    source_id="a",
    segment_index=3,
    start_sample=24_000,
    start_unix_seconds=1_700_000_001.5,
    ready_unix_seconds=1_700_000_002.5,
    mos=3.5,
    mos_std=0.25,
    noisiness=4.25,
    coloration=3.75,
    discontinuity=2.5,
    loudness=4.5,
    speech_ratio=0.75,
    level_dbov=-26.5,
    clipped_ratio=0.125,
    concealed_ratio=0.5,
    bandwidth_hz=3_400.0,
    snr_db=12.5,
    cause=Cause.ECHO_OR_TALKER,
    cause_probability=0.625,
    model_id="m-1-0",
    marks=(Mark.CAPTURE_LOSS, Mark.TELEPHONE_EVENT),
)
UNSET = SegmentScore(
    source_id="a",
    segment_index=4,
    start_sample=32_000,
    start_unix_seconds=1_700_000_002.0,
    ready_unix_seconds=1_700_000_003.0,
    reason=Reason.SILENCE,
)
WINDOW = RollingWindow(
    window_seconds=30.0,
    mos=3.5,
    mos_std=0.25,
    mos_minimum=1.5,
    mos_p05=2.0,
    noisiness=4.0,
    coloration=4.0,
    discontinuity=4.0,
    loudness=4.0,
    scored_segments=50,
    unscored_segments=9,
    coverage_ratio=0.75,
    speech_seconds=12.5,
    snr_db=22.5,
    cause=Cause.NONE,
    cause_probability=0.375,
)
MEDIA = MediaStatistics(
    codec="opus/48000/2",
    received_packets=990,
    expected_packets=1_000,
    lost_packets=10,
    late_packets=0,
    duplicate_packets=1,
    reordered_packets=2,
    jitter_seconds=0.00125,
    playout_delay_seconds=0.06,
    network_mos=4.25,
    discarded_packets=3,
    recovered_packets=4,
    stray_packets=5,
    rfc_jitter_seconds=0.0025,
    clock_drift_ppm=-12.5,
    recent_network_mos=4.25,
    remote_lost_ratio=0.125,
    remote_jitter_seconds=0.004,
    remote_mos=4.0,
)
ROLLING = RollingScore(
    source_id="a",
    segment_index=3,
    end_sample=40_000,
    ready_unix_seconds=1_700_000_002.5,
    windows=(WINDOW, RollingWindow(window_seconds=None, reason=Reason.NO_SPEECH)),
    level_dbov=-26.5,
    state=StreamState.STALLED,
    media=MEDIA,
    model_id="m-1-0",
)
EVENT = SourceEvent(source_id="a", kind=EventKind.TIMESTAMP_JUMP, unix_seconds=1_700_000_002.5, detail="by 800")


@pytest.mark.parametrize(
    ("members", "wire_enum", "prefix"),
    [
        (Reason, pb.Reason, "REASON"),
        (Cause, pb.Cause, "CAUSE"),
        (EventKind, pb.EventKind, "EVENT_KIND"),
        (StreamState, pb.SourceState, "SOURCE_STATE"),
        (View, pb.View, "VIEW"),
    ],
)
def test_each_enum_of_the_wire_has_the_members_of_the_agent_and_an_unspecified_zero(
    members: type[Enum], wire_enum: Any, prefix: str
) -> None:
    """A reason that exists on one side alone would arrive as no reason."""
    assert wire_enum.keys()[0] == f"{prefix}_UNSPECIFIED"
    assert set(wire_enum.keys()[1:]) == {f"{prefix}_{member.name}" for member in members}
    assert all(member.value == member.name.lower() for member in members)


@pytest.mark.parametrize("payload", [SEGMENT, UNSET, ROLLING, EVENT])
def test_every_field_of_a_payload_survives_the_wire(payload: Any) -> None:
    """A field that is forgotten in one direction is a silent loss; the examples set every field they can."""
    message = pb.SubscribeResponse.FromString(
        wire.update_to_wire(FeedItem(sequence=7, payload=payload)).SerializeToString()
    )
    assert wire.update_from_wire(message) == FeedItem(sequence=7, payload=payload)


def test_a_batch_holds_what_its_updates_are_alone() -> None:
    """A subscriber of batches must get what one of single messages gets: they are written by two ways."""
    gap = Gap(missed=(MissedRange(source_id="a", first_sequence=3, last_sequence=9, missed_items=5),))
    items = [FeedItem(sequence=n, payload=each) for n, each in enumerate((SEGMENT, UNSET, ROLLING, EVENT))]
    updates = [*items, gap]
    batch = pb.SubscribeResponse.FromString(wire.batch_to_wire(updates).SerializeToString())
    assert wire.updates_from_wire(batch) == updates
    assert list(batch.batch.updates) == [wire.update_to_wire(each) for each in updates]


def test_the_examples_above_set_every_field() -> None:
    """The test before proves nothing for a field that its example leaves at the default."""
    for record in (SEGMENT, WINDOW, MEDIA, ROLLING, EVENT):
        unset = [f.name for f in dataclasses.fields(record) if getattr(record, f.name) is None]
        assert set(unset) <= {"reason"}


def test_a_gap_and_a_source_survive_the_wire() -> None:
    """The two records that are not payloads."""
    gap = Gap(missed=(MissedRange(source_id="a", first_sequence=3, last_sequence=9, missed_items=5),))
    assert wire.update_from_wire(wire.update_to_wire(gap)) == gap
    source = SourceSnapshot(
        description=StreamDescription(source_id="a", kind="rtp", labels={"room": "1"}, detail="10.0.0.7"),
        state=StreamState.UNDESCRIBED,
        reason=Reason.UNSUPPORTED_CODEC,
        started_unix_seconds=1_700_000_000.25,
        media=MEDIA,
        heard_samples=123_457,
        segment=SEGMENT,
        rolling=ROLLING,
        last_sequence=88,
    )
    assert wire.source_from_wire(pb.Source.FromString(wire.source_to_wire(source).SerializeToString())) == source


def test_an_unset_score_is_absent_on_the_wire_and_a_lost_packet_count_of_zero_is_present() -> None:
    """Zero and unknown are different answers."""
    message = wire.segment_to_wire(UNSET, 1)
    names = ("mos", "mos_std", "noisiness", "coloration", "discontinuity", "loudness", "level_dbov", "speech_ratio")
    assert not any(message.HasField(name) for name in (*names, "snr_db", "cause_probability"))
    assert message.cause == pb.CAUSE_UNSPECIFIED
    rolling = wire.rolling_to_wire(dataclasses.replace(ROLLING, media=MediaStatistics(lost_packets=0)), 1)
    assert rolling.media.HasField("lost_packets")
    assert not rolling.media.HasField("late_packets")


def test_messages_and_values_of_a_newer_server_are_skipped_not_fatal() -> None:
    """Clients outlive servers: an unknown kind of message or reason must not end a feed."""
    assert wire.update_from_wire(pb.SubscribeResponse(hello=pb.Hello())) is None
    assert wire.update_from_wire(pb.SubscribeResponse()) is None
    assert wire.update_from_wire(pb.SubscribeResponse(event=pb.Event(source_id="a", kind=99))) is None  # type: ignore[arg-type]
    newer = wire.update_from_wire(pb.SubscribeResponse(segment=pb.Segment(source_id="a", reason=99, cause=99)))  # type: ignore[arg-type]
    assert isinstance(newer, FeedItem)
    assert isinstance(newer.payload, SegmentScore)
    assert (newer.payload.mos, newer.payload.reason, newer.payload.cause) == (None, None, None)


def test_every_score_of_the_contract_is_optional() -> None:
    """Without presence an unset score would read as 0.0."""
    for message in (pb.Segment, pb.RollingWindow, pb.ClipScore):
        for field in message.DESCRIPTOR.fields:
            dimensions = ("noisiness", "coloration", "discontinuity", "loudness")
            if field.name.startswith("mos") or field.name in (*dimensions, "snr_db", "cause_probability"):
                assert field.has_presence, f"{message.DESCRIPTOR.name}.{field.name}"


def test_every_message_about_a_source_names_it_and_numbers_itself() -> None:
    """The key of everything a client stores is (feed, source, sequence)."""
    for message in (pb.Segment, pb.Rolling, pb.Event):
        fields = message.DESCRIPTOR.fields_by_name
        assert (fields["source_id"].number, fields["sequence"].number) == (1, 2)


@pytest.mark.skipif(
    not (generate.ROOT / generate.SOURCES[0]).exists(), reason="not a checkout: no .proto beside the code"
)
def test_generated_code_is_in_step_with_the_proto_file() -> None:
    """A field that was added to the .proto alone would be missing from every client and server."""
    try:
        found = importlib.metadata.version("grpcio-tools")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("grpcio-tools is not installed")
    if found != generate.TOOLS_VERSION:
        pytest.skip(f"grpcio-tools {found} writes other code than {generate.TOOLS_VERSION}")
    assert generate.stale_files() == []


def test_the_drift_check_names_the_file_that_is_out_of_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A red gate must say what to run."""

    def another(out: Path) -> list[Path]:
        path = Path(generate.SOURCES[0].replace(".proto", "_pb2.py"))
        (out / path).parent.mkdir(parents=True)
        (out / path).write_text("something else")
        return [path]

    monkeypatch.setattr(generate, "generate", another)
    (tmp_path / generate.SOURCES[0]).parent.mkdir(parents=True)
    (tmp_path / generate.SOURCES[0]).touch()
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert generate.main(["--check"]) == 1
    complaint = capsys.readouterr().err
    assert re.search(r"quality_pb2\.py is out of step .*python -m livemos\.proto\.generate", complaint)


def test_another_generator_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Code from a newer generator would not import for users of an older protobuf."""
    if not (generate.ROOT / generate.SOURCES[0]).exists():
        pytest.skip("not a checkout: no .proto beside the code")
    monkeypatch.setattr(generate, "TOOLS_VERSION", "0.0.1")
    assert generate.main(["--check"]) == 2
    assert "grpcio-tools==0.0.1" in capsys.readouterr().err

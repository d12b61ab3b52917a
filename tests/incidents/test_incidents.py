"""Calls that go wrong where the packets look well, and calls that only look wrong, through the packaged model.

The alarm is a `disagreement` with a bad signal, or a fault of the media rate (docs/rtp.md).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from captures import INCIDENTS

from livemos.agent.capture_scorer import CaptureScorer, CaptureStream
from livemos.agent.records import EventKind

ALARMS = {EventKind.DISAGREEMENT, EventKind.MEDIA_RATE_LOW, EventKind.MEDIA_RATE_HIGH}


@pytest.fixture(scope="module")
def scorer() -> CaptureScorer:
    return CaptureScorer()


@pytest.fixture(scope="module")
def heard(scorer: CaptureScorer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, CaptureStream]:
    folder = tmp_path_factory.mktemp("incidents")
    found = {}
    for name, make in INCIDENTS.items():
        (found[name],), _ = scorer.score(make().write(folder / f"{name}.pcap"))
    return found


def alarms(stream: CaptureStream) -> list[EventKind]:
    return [event.kind for event in stream.events if event.kind in ALARMS]


def test_a_quarter_of_the_media_is_an_alarm_without_a_lost_packet(heard: dict[str, CaptureStream]) -> None:
    """Others give 4.5 for it: nothing is lost, and three quarters of every second never came."""
    stream = heard["quarter_rate_g722"]
    assert alarms(stream) == [EventKind.MEDIA_RATE_LOW]
    assert (stream.media.lost_packets, stream.media.network_mos) == (0, None)


@pytest.mark.parametrize("name", ["robotic", "stutter"])
def test_what_broke_before_the_first_packet_is_an_alarm(heard: dict[str, CaptureStream], name: str) -> None:
    """The damage came with the audio: the network is perfect, and only who listens can tell."""
    stream = heard[name]
    assert alarms(stream) == [EventKind.DISAGREEMENT]
    assert stream.media.lost_packets == 0
    assert stream.media.network_mos is not None and stream.media.network_mos >= 4.3
    (event,) = (event for event in stream.events if event.kind is EventKind.DISAGREEMENT)
    assert event.unix_seconds <= 8.0
    assert stream.clip is not None and stream.clip.mos is not None and stream.clip.mos < 2.8


def test_ringing_before_the_answer_is_no_alarm(heard: dict[str, CaptureStream]) -> None:
    """12 s of ringing under another SSRC, numbers going on: neither loss nor bad speech."""
    stream = heard["ringback"]
    assert alarms(stream) == []
    assert stream.media.lost_packets == 0
    assert EventKind.SSRC_CHANGED in [event.kind for event in stream.events]


def test_loss_that_is_over_is_no_alarm(heard: dict[str, CaptureStream]) -> None:
    """3 % in the first seconds is told by its scores and its counters, and must not cling to the call."""
    stream = heard["early_loss"]
    assert alarms(stream) == []
    assert stream.media.lost_packets
    assert stream.media.recent_network_mos == pytest.approx(4.41, abs=0.01)


def test_a_telephone_hears_the_quarter_rate_as_gaps(scorer: CaptureScorer, tmp_path: Path) -> None:
    """Each listener profile is a stream of its own, its label says which, and what it plays is scored."""
    path = INCIDENTS["quarter_rate_g722"]().write(tmp_path / "call.pcap")
    streams, _ = scorer.score(path, profiles=("ideal", "fixed50"))
    assert [stream.description.labels["profile"] for stream in streams] == ["ideal", "fixed50"]
    assert [stream.description.source_id for stream in streams] == ["call/00000001", "call/00000001@fixed50"]
    ideal, phone = (stream.clip for stream in streams)
    assert ideal is not None and phone is not None
    assert (ideal.seconds, phone.seconds) == (pytest.approx(3.2, abs=0.1), pytest.approx(12.3, abs=0.3))
    assert streams[1].media.playout_delay_seconds == 0.05
    assert max(segment.concealed_ratio for segment in streams[1].segments) > 0.5
    assert max(segment.concealed_ratio for segment in streams[0].segments) == 0.0

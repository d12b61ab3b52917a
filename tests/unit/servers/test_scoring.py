"""ScoringService over a real connection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from livemos.agent.errors import BundleError, CodecError
from livemos.agent.scorer import Scorer as PackagedScorer
from livemos.agent.servers.grpc_server import GrpcServer
from livemos.agent.servers.scoring import ScoringLimits
from livemos.proto.quality.v1 import quality_pb2 as pb
from livemos.proto.quality.v1 import quality_pb2_grpc

Scoring = quality_pb2_grpc.ScoringServiceStub
CONFIG = pb.AudioConfig(sample_rate_hz=8_000, encoding=pb.ENCODING_LINEAR16, source_id="mine")


def config(message: pb.AudioConfig = CONFIG) -> pb.StreamingScoreRequest:
    return pb.StreamingScoreRequest(config=message)


def audio(seconds: float = 1.0, value: int = 16_384) -> pb.StreamingScoreRequest:
    return pb.StreamingScoreRequest(audio=np.full(round(8_000 * seconds), value, "<i2").tobytes())


END = pb.StreamingScoreRequest(end=pb.EndOfAudio())


def refused_fields(error: Any) -> list[str]:
    status = rpc_status.from_call(error)
    assert status is not None
    bad = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(bad)
    return [violation.field for violation in bad.field_violations]


@pytest.mark.parametrize(
    ("encoding", "samples", "mos"),
    [
        (pb.ENCODING_LINEAR16, np.full(16_000, 16_384, "<i2"), 3.0),
        (pb.ENCODING_LINEAR16, np.full(16_000, -32_768, "<i2"), 5.0),
        (pb.ENCODING_FLOAT32, np.full(16_000, 0.25, "<f4"), 2.0),
    ],
)
def test_a_clip_is_read_in_its_encoding_at_full_scale_one(
    scoring: Scoring, encoding: Any, samples: Any, mos: float
) -> None:
    """A factor of two here would be heard as 6 dB, and scored."""
    request = pb.ScoreRequest(
        config=pb.AudioConfig(sample_rate_hz=8_000, encoding=encoding), audio=samples.tobytes(), include_segments=True
    )
    score = scoring.Score(request, timeout=5).score
    assert score.mos == pytest.approx(mos, abs=1e-3)
    assert (score.duration.ToMilliseconds(), score.sample_rate_hz, score.reason) == (2_000, 8_000, 0)
    assert [(s.sequence, s.segment_index, s.start_sample) for s in score.segments] == [
        (1, 0, 0),
        (2, 1, 8_000),
        (3, 2, 16_000),
        (4, 3, 24_000),
    ]


def test_interleaved_channels_are_averaged(scoring: Scoring) -> None:
    """The same rule as everywhere: mono is the mean of the channels."""
    frames = np.tile(np.array([0.5, 0.0], "<f4"), 8_000)
    request = pb.ScoreRequest(
        config=pb.AudioConfig(sample_rate_hz=8_000, encoding=pb.ENCODING_FLOAT32, channel_count=2),
        audio=frames.tobytes(),
    )
    score = scoring.Score(request, timeout=5).score
    assert score.mos == pytest.approx(2.0)
    assert score.duration.ToMilliseconds() == 1_000
    assert not score.segments


def test_an_empty_clip_is_unset_with_its_reason_not_zero(scoring: Scoring) -> None:
    """A made-up 0 would drag every average down."""
    score = scoring.Score(pb.ScoreRequest(config=CONFIG), timeout=5).score
    assert not score.HasField("mos")
    assert score.reason == pb.REASON_TOO_SHORT


def test_a_stream_gives_segments_and_rolling_scores_as_they_come_and_one_summary(scoring: Scoring) -> None:
    """Live is the point: the first segment comes before the last audio is sent."""
    seen_first = threading.Event()

    def steps() -> Iterator[pb.StreamingScoreRequest]:
        yield config()
        yield audio(1.0)
        assert seen_first.wait(5)
        yield audio(0.5)
        yield END

    answers = []
    for answer in scoring.StreamingScore(steps(), timeout=10):
        answers.append(answer)
        seen_first.set()
    kinds = [answer.WhichOneof("message") for answer in answers]
    assert kinds == ["segment", "rolling", "segment", "rolling", "segment", "rolling", "summary"]
    numbered = [getattr(answer, kind) for answer, kind in zip(answers, kinds, strict=True) if kind != "summary"]
    assert [part.sequence for part in numbered] == [1, 2, 3, 4, 5, 6]
    assert {part.source_id for part in numbered} == {"mine"}
    assert [answer.segment.segment_index for answer in answers if answer.HasField("segment")] == [0, 1, 2]
    assert answers[-1].summary.mos == pytest.approx(3.0, abs=1e-3)
    assert not answers[-1].summary.segments


def test_the_packaged_model_sends_windows_behind_each_segment_that_agree_with_the_summary(
    start_server: Callable[..., GrpcServer],
) -> None:
    """The promise of the contract is kept by the scorer that is shipped, not by one made for the tests."""
    rng, times = np.random.default_rng(5), np.arange(4 * 8_000) / 8_000
    voice = sum(np.sin(2 * np.pi * 130 * k * times) / k for k in range(1, 20))
    sound = 0.05 * voice * np.clip(np.sin(2 * np.pi * 3 * times), 0, 1) + 1e-4 * rng.standard_normal(len(times))
    spoken = pb.StreamingScoreRequest(audio=(32_768 * sound).astype("<i2").tobytes())
    with grpc.insecure_channel(start_server(scorer=PackagedScorer()).address) as channel:
        *answers, last = Scoring(channel).StreamingScore(iter([config(), spoken, END]), timeout=15)
    assert [answer.WhichOneof("message") for answer in answers] == ["segment", "rolling"] * 7
    for segment, rolling in zip(answers[::2], answers[1::2], strict=True):
        assert rolling.rolling.segment_index == segment.segment.segment_index
        assert rolling.rolling.ready_time == segment.segment.ready_time
        assert (rolling.rolling.source_id, rolling.rolling.level_dbov) == ("mine", segment.segment.level_dbov)
    first, call = answers[1].rolling.windows[-1], answers[-1].rolling.windows[-1]
    assert (first.scored_segments, first.mos) == (1, pytest.approx(answers[0].segment.mos, abs=1e-5))
    assert answers[0].segment.ready_time.ToMilliseconds() == 1_000, "no wall clock: from the first sample on"
    assert not call.HasField("window")
    assert call.scored_segments == 7
    for name in ("mos", "mos_std", "noisiness", "cause", "cause_probability"):
        assert getattr(call, name) == pytest.approx(getattr(last.summary, name), abs=1e-4), name


def test_closing_the_sending_side_means_the_same_as_end(scoring: Scoring) -> None:
    """A client that just stops iterating still gets its summary."""
    *_, last = scoring.StreamingScore(iter([config(), audio(1.0)]), timeout=5)
    assert last.HasField("summary")


def test_the_end_brings_the_summary_while_the_sending_side_stays_open(scoring: Scoring) -> None:
    """A client that closes only once it has its summary must not wait for ever, and hold a slot meanwhile."""
    done = threading.Event()

    def steps() -> Iterator[pb.StreamingScoreRequest]:
        yield from (config(), audio(1.0), END)
        assert done.wait(10)

    try:
        *_, last = scoring.StreamingScore(steps(), timeout=5)
    finally:
        done.set()
    assert last.HasField("summary")


def test_audio_behind_the_end_is_not_read(scoring: Scoring) -> None:
    """The end is the end: what follows it changes neither the score nor the status."""
    *_, last = scoring.StreamingScore(iter([config(), audio(1.0), END, audio(1.0, value=0), END]), timeout=5)
    assert (last.summary.mos, last.summary.duration.ToMilliseconds()) == (pytest.approx(3.0, abs=1e-3), 1_000)


@pytest.mark.parametrize(
    ("steps", "field"),
    [
        ([], "config"),
        ([audio()], "audio"),
        ([END], "end"),
        ([pb.StreamingScoreRequest()], "message"),
        ([config(), config()], "config"),
        ([config(), pb.StreamingScoreRequest()], "message"),
        ([config(), pb.StreamingScoreRequest(audio=b"odd")], "audio"),
        ([config(pb.AudioConfig(sample_rate_hz=7_999, encoding=pb.ENCODING_LINEAR16))], "config.sample_rate_hz"),
        ([config(pb.AudioConfig(sample_rate_hz=8_000))], "config.encoding"),
        (
            [config(pb.AudioConfig(sample_rate_hz=8_000, encoding=pb.ENCODING_FLOAT32, channel_count=9))],
            "config.channel_count",
        ),
        (
            [config(pb.AudioConfig(sample_rate_hz=8_000, encoding=pb.ENCODING_FLOAT32, source_id="x" * 257))],
            "config.source_id",
        ),
    ],
)
def test_a_step_out_of_order_or_out_of_range_names_its_field(
    scoring: Scoring, steps: list[pb.StreamingScoreRequest], field: str
) -> None:
    """Config first and once, whole frames: each rule has its own answer."""
    with pytest.raises(grpc.RpcError) as refused:
        list(scoring.StreamingScore(iter(steps), timeout=5))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused_fields(refused.value) == [field]


def test_an_odd_byte_count_of_a_clip_is_refused(scoring: Scoring) -> None:
    """Half a sample means the sender and we disagree on the format; guessing would score noise."""
    with pytest.raises(grpc.RpcError, match="whole frames") as refused:
        scoring.Score(pb.ScoreRequest(config=CONFIG, audio=b"abc"), timeout=5)
    assert refused_fields(refused.value) == ["audio"]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (RuntimeError("secret"), grpc.StatusCode.INTERNAL),
        (ValueError("secret"), grpc.StatusCode.INTERNAL),
        (BundleError("bundle x has no graph"), grpc.StatusCode.FAILED_PRECONDITION),
        (CodecError("not PCM"), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_what_a_scorer_raises_becomes_its_status_in_both_calls(
    scoring: Scoring, scorer: Any, failure: Exception, code: grpc.StatusCode
) -> None:
    """A client must tell its own mistake from ours, and never read UNKNOWN."""
    scorer.failure = failure
    calls = (
        lambda: scoring.Score(pb.ScoreRequest(config=CONFIG, audio=b"\0\0"), timeout=5),
        lambda: list(scoring.StreamingScore(iter([config(), audio()]), timeout=5)),
    )
    for call in calls:
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refused.value.code() is code
        assert "secret" not in (refused.value.details() or "")


def test_caps_on_message_stream_and_calls_are_resource_exhausted_with_their_subject(
    start_server: Callable[..., GrpcServer], scorer: Any
) -> None:
    """The answer says which limit was met, and when to try again only where that can help: not for what is too long."""

    def subject_of(call: Callable[[], object], *, retry: bool = False) -> str:
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
        assert status is not None
        quota = error_details_pb2.QuotaFailure()
        assert status.details[0].Unpack(quota)
        assert [detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details[1:]] == [True] * retry
        return str(quota.violations[0].subject)

    server = start_server(limits=ScoringLimits(calls=1, message_bytes=16_000, stream_seconds=1.5))
    with grpc.insecure_channel(server.address) as channel:
        stub = Scoring(channel)
        long_clip = pb.ScoreRequest(config=CONFIG, audio=bytes(16_002))
        assert subject_of(lambda: stub.Score(long_clip, timeout=5)) == "message bytes"
        assert subject_of(lambda: list(stub.StreamingScore(iter([config(), audio(), audio()]), timeout=5))) == (
            "stream seconds"
        )
        scorer.hold = threading.Event()
        running = stub.Score.future(pb.ScoreRequest(config=CONFIG, audio=bytes(1_000)), timeout=10)
        assert scorer.holding.acquire(timeout=5)
        assert subject_of(lambda: stub.Score(pb.ScoreRequest(config=CONFIG), timeout=5), retry=True) == "scoring calls"
        scorer.hold.set()
        assert running.result(5).score.mos == 1.0
        scorer.hold = None
        assert stub.Score(pb.ScoreRequest(config=CONFIG), timeout=5).score.reason == pb.REASON_TOO_SHORT


@pytest.mark.parametrize("streaming", [False, True])
def test_work_behind_a_call_that_timed_out_keeps_its_turn_and_its_slot(
    start_server: Callable[..., GrpcServer], scorer: Any, streaming: bool
) -> None:
    """A client with short deadlines that tries again would else pile up work beyond both caps."""
    clip = pb.ScoreRequest(config=CONFIG, audio=bytes(1_000))
    with grpc.insecure_channel(start_server(limits=ScoringLimits(calls=2, workers=1)).address) as channel:
        stub = Scoring(channel)
        scorer.hold = threading.Event()
        stream = [config(), audio(), END]
        with pytest.raises(grpc.RpcError) as gone:
            list(stub.StreamingScore(iter(stream), timeout=0.3)) if streaming else stub.Score(clip, timeout=0.3)
        assert gone.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert scorer.holding.acquire(timeout=5)
        waiting = stub.Score.future(clip, timeout=10)
        assert not scorer.holding.acquire(timeout=0.4), "two at once, with one worker"
        with pytest.raises(grpc.RpcError) as refused:
            stub.Score(clip, timeout=5)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        scorer.hold.set()
        assert waiting.result(5).score.mos == 1.0
        both = [stub.Score.future(clip, timeout=5) for _ in range(2)]
        assert [call.result(5).score.mos for call in both] == [1.0, 1.0]


def test_the_feed_answers_while_a_clip_is_computed(channel: grpc.Channel, scoring: Scoring, scorer: Any) -> None:
    """Scoring runs on threads: a minute of audio must not stop the heartbeats of everyone."""
    scorer.hold = threading.Event()
    running = scoring.Score.future(pb.ScoreRequest(config=CONFIG, audio=bytes(1_000)), timeout=10)
    assert scorer.holding.acquire(timeout=5)
    assert quality_pb2_grpc.QualityServiceStub(channel).GetModel(pb.GetModelRequest(), timeout=2).model.name == "test"
    assert not running.done()
    scorer.hold.set()
    assert running.result(5)

"""What lowers a score, from the graph's columns to segments, windows, clips and the wire; unset without causes."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import soundfile
import typer.testing
from cause_bundle import NOISINESS, expected_causes, white, write_cause_bundle
from rtp_traffic import CaptureWriter, pcmu

from livemos.agent.bundle import load_bundle
from livemos.agent.capture_scorer import CaptureScorer
from livemos.agent.causes import CAUSE_OUTPUTS, CAUSES, SNR_RANGE_DB, Cause, CauseBank, snr_db
from livemos.agent.codecs import make_encoder
from livemos.agent.commands.feed_client import Connected, FeedClient
from livemos.agent.commands.score import app
from livemos.agent.commands.score_capture import _log_rows, _stream_rows
from livemos.agent.daemon import Agent
from livemos.agent.engine import make_engine
from livemos.agent.feed_filter import FeedFilter
from livemos.agent.pipeline import segment_score
from livemos.agent.reasons import Reason
from livemos.agent.records import (
    AudioBlock,
    EventKind,
    FeedItem,
    FeedPayload,
    RollingScore,
    Samples,
    SegmentScore,
    StreamDescription,
)
from livemos.agent.rolling import RollingBank, segments_in
from livemos.agent.scorer import Scorer
from livemos.agent.segment_scorer import SegmentScorer
from livemos.agent.settings import EngineSettings, GrpcSettings, Settings
from livemos.proto.quality.v1 import quality_pb2 as pb
from livemos.proto.quality.v1 import quality_pb2_grpc
from livemos.training import labels
from livemos.training.models.base import CAUSE_OUTPUTS as TAUGHT_OUTPUTS

LOUD, SOFT = 0.3, 0.01  # levels of noise that tests/support/cause_bundle.py calls LEVEL and NOISE


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With causes."""
    return write_cause_bundle(tmp_path_factory.mktemp("bundle") / "causes.livemos")


def _scorer(bundle: Path) -> SegmentScorer:
    loaded = load_bundle(bundle)
    return SegmentScorer(loaded, make_engine("onnxruntime", loaded, threads=1))


def _segments(samples: Samples) -> Samples:
    return np.stack([samples[start : start + 16_000] for start in range(0, len(samples) - 15_999, 8_000)])


def _soft_then_loud() -> Samples:
    """Seven seconds of soft noise and 2.5 of loud: most segments say NOISE, most speech says LEVEL."""
    return np.concatenate([white(SOFT, 7.0), white(LOUD, 2.5)])


def test_the_causes_are_those_that_the_network_is_taught() -> None:
    """A name that differs by a letter leaves every cause unset, and nobody is told."""
    assert CAUSE_OUTPUTS == TAUGHT_OUTPUTS


def test_the_snr_is_the_one_whose_label_is_that_noisiness() -> None:
    """What the network is taught about noise is what users are told of it."""
    snr = np.arange(0.5, 40.0)
    np.testing.assert_allclose(snr_db(labels.noisiness(-snr)), snr, atol=1e-9)
    np.testing.assert_allclose(snr_db(labels.noisiness(-snr).astype(np.float32)), snr, atol=1e-3)


def test_where_noisiness_is_near_its_ends_the_snr_is_unset() -> None:
    """There the curve is flat: a small error of the network would be printed as many dB."""
    low, high = SNR_RANGE_DB
    beyond = labels.noisiness(-np.array([low - 0.1, low - 30.0, high + 0.1, high + 60.0]))
    assert np.isnan(snr_db(beyond)).all()
    assert np.isnan(snr_db(np.array([1.0, 4.8, 5.0, np.nan], np.float32))).all()
    slope = np.diff(labels.noisiness(-np.array([low - 1.0, low, high, high + 1.0])))[[0, 2]]
    assert (0.1 / slope > 2.5).all()


def test_the_likeliest_cause_is_picked_by_name_whatever_the_order_of_the_columns(bundle: Path) -> None:
    """A bundle names its columns; a cause read by position would send people to the wrong place."""
    segments = np.stack([white(LOUD), white(SOFT), white(0.05, seed=1)])
    scores = _scorer(bundle).score(segments, np.zeros(3, np.float32))
    expected = np.stack([expected_causes(segment) for segment in segments])
    assert scores.causes is not None
    np.testing.assert_allclose(scores.causes, expected, atol=2e-3)
    assert [CAUSES[place] for place in scores.cause[:2]] == [Cause.LEVEL, Cause.NOISE]
    np.testing.assert_allclose(scores.cause_probability, expected.max(axis=1), atol=2e-3)
    np.testing.assert_allclose(scores.snr_db, float(snr_db(np.array(NOISINESS))), atol=1e-3)


def test_a_segment_without_a_score_has_no_cause_and_no_snr(bundle: Path) -> None:
    """An explanation of a number that was not given is a made-up value. 0.001 is too little speech for this graph."""
    segments = np.stack([np.zeros(16_000, np.float32), white(LOUD), white(0.001), np.full(16_000, np.nan, np.float32)])
    scores = _scorer(bundle).score(segments, np.zeros(4, np.float32))
    assert scores.reasons == [Reason.SILENCE, None, Reason.NO_SPEECH, Reason.BAD_AUDIO]
    assert np.isnan(scores.cause_probability).tolist() == [True, False, True, True]
    assert np.isnan(scores.snr_db).tolist() == [True, False, True, True]
    assert (scores.weighted_causes().sum(axis=1) > 0).tolist() == [False, True, False, False]


@pytest.mark.parametrize("causes", [(), CAUSE_OUTPUTS[:-1]], ids=["none", "all but one"])
def test_a_bundle_without_all_causes_gives_scores_and_no_cause(tmp_path: Path, causes: tuple[str, ...]) -> None:
    """The bundles in use name none; the largest of some would be called the cause of all."""
    path = write_cause_bundle(tmp_path / "some.livemos", causes=causes)
    clip = Scorer(path).score(_soft_then_loud(), 16_000)
    assert clip.mos is not None and clip.snr_db is not None
    assert (clip.cause, clip.cause_probability) == (None, None)
    assert all((each.cause, each.cause_probability) == (None, None) for each in clip.segments)


def test_the_cause_of_a_clip_is_the_one_with_the_largest_mean_probability_weighted_by_speech(bundle: Path) -> None:
    """Counting segments would let pauses outvote the speech."""
    samples = _soft_then_loud()
    clip = Scorer(bundle).score(samples, 16_000)
    named = [segment.cause for segment in clip.segments]
    assert named.count(Cause.NOISE) > named.count(Cause.LEVEL) > 0
    probabilities = np.stack([expected_causes(segment) for segment in _segments(samples)])
    speech = [segment.speech_ratio or 0.0 for segment in clip.segments]
    expected = np.average(probabilities, axis=0, weights=speech)
    assert clip.cause is Cause.LEVEL is CAUSES[expected.argmax()]
    assert clip.cause_probability == pytest.approx(expected.max(), abs=2e-3)
    assert clip.snr_db == pytest.approx(float(snr_db(np.array(NOISINESS))), abs=1e-3)


def test_a_stream_in_blocks_has_the_cause_of_the_whole_clip(bundle: Path) -> None:
    """Sums that forget a block would depend on the packet size."""
    samples = _soft_then_loud()
    scorer = Scorer(bundle)
    stream = scorer.stream(16_000)
    for start in range(0, len(samples), 12_345):
        stream.write(samples[start : start + 12_345])
    pieces, whole = stream.finish(), scorer.score(samples, 16_000)
    assert pieces.cause is whole.cause is Cause.LEVEL
    assert pieces.cause_probability == pytest.approx(whole.cause_probability)


def test_a_window_without_speech_left_in_it_names_no_cause() -> None:
    """Sums that gain and lose keep crumbs of rounding; they must not be read as a cause."""
    streams = 64  # of some of them the crumbs are positive
    bank, rows, rng = CauseBank(streams, [2, 5]), np.arange(streams), np.random.default_rng(0)
    for _ in range(300):
        causes, speech = rng.dirichlet(np.full(9, 0.1), streams), rng.uniform(0.1, 1.0, streams)
        bank.push(rows, causes.astype(np.float32), speech.astype(np.float32))
    for _ in range(2):
        _, share = bank.push(rows, np.full((streams, 9), np.nan, np.float32), np.zeros(streams, np.float32))
    assert np.isnan(share).tolist() == [[True, False, False]] * streams


def test_a_segment_that_was_refused_for_want_of_time_has_no_cause_and_adds_none(bundle: Path) -> None:
    """The ring had written over it: what the network said is of other sound."""
    scores = _scorer(bundle).score(np.stack([white(LOUD), white(SOFT)]), np.zeros(2, np.float32))
    scores.values[0], scores.reasons[0] = np.nan, Reason.OVERLOADED  # as the pipeline does
    refused, kept = (
        segment_score(
            scores, row, source_id="a", segment_index=0, ready_unix_seconds=1.0, concealed_ratio=0.0, model_id="m"
        )
        for row in range(2)
    )
    assert (refused.cause, refused.cause_probability, refused.snr_db) == (None, None, None)
    assert kept.cause is Cause.NOISE
    bank = RollingBank(1, error_correlation=1.0, causes=True)
    assert scores.causes is not None
    for row in range(2):
        (windows,) = bank.push(
            np.array([0]), scores.values[row : row + 1], scores.reasons[row : row + 1], scores.causes[row : row + 1]
        )
    assert [window.cause for window in windows] == [Cause.NOISE] * 4
    assert windows[0].cause_probability == pytest.approx(kept.cause_probability)


def test_a_row_that_is_reused_starts_without_the_causes_of_the_old_call() -> None:
    """A new call must not be blamed for the last one's echo."""
    bank = RollingBank(1, error_correlation=1.0, causes=True)
    values = np.array([[3.0, 3.0, 3.0, 3.0, 3.0, 0.5, 0.9]], np.float32)
    certain = np.eye(len(CAUSES), dtype=np.float32)
    for _ in range(9):
        bank.push(np.array([0]), values, [None], certain[:1])
    bank.reset(0)
    (windows,) = bank.push(np.array([0]), values, [None], certain[3:4])
    assert [(window.cause, window.cause_probability) for window in windows] == [(Cause.BAND, 1.0)] * 4


@pytest.fixture
def agent(bundle: Path) -> Iterator[Agent]:
    """A running agent with the bundle, without sources."""
    settings = Settings(grpc=GrpcSettings(port=0), engine=EngineSettings(bundle=bundle))
    with Agent(settings) as running:
        yield running


def _heard(agent: Agent, samples: Samples) -> list[FeedPayload]:
    """What a gRPC subscriber is told of one stream."""
    payloads: list[FeedPayload] = []
    with FeedClient(f"127.0.0.1:{agent.grpc_port}", FeedFilter()) as client:
        client.start()
        while not isinstance(client.next(10.0), Connected):
            pass
        writer = agent.pipeline.open(StreamDescription(source_id="a", kind="push"), wait_when_full=True)
        for start in range(0, len(samples), 4_000):
            block = samples[start : start + 4_000]
            writer.write(AudioBlock(samples=block, sample_rate_hz=16_000, ready_monotonic_seconds=0.0))
        writer.close()
        while not (payloads and getattr(payloads[-1], "kind", None) is EventKind.SOURCE_ENDED):
            message = client.next(10.0)
            assert message is not None, f"nothing more after {payloads[-2:]}"
            if isinstance(message, FeedItem):
                payloads.append(message.payload)
    return payloads


def test_subscribers_get_the_cause_of_each_segment_and_of_each_window(agent: Agent) -> None:
    """From the samples over the graph, the windows and gRPC: the live path as it is used."""
    samples = _soft_then_loud()
    payloads = _heard(agent, samples)
    segments = [each for each in payloads if isinstance(each, SegmentScore)]
    probabilities = np.stack([expected_causes(segment) for segment in _segments(samples)])
    assert [segment.cause for segment in segments] == [CAUSES[place] for place in probabilities.argmax(axis=1)]
    said = [each.cause_probability or 0.0 for each in segments]
    np.testing.assert_allclose(said, probabilities.max(axis=1), atol=2e-3)
    assert [segment.snr_db for segment in segments] == pytest.approx(
        [float(snr_db(np.array(NOISINESS)))] * 18, abs=1e-3
    )
    speech = np.array([segment.speech_ratio for segment in segments])
    for count, rolling in enumerate((each for each in payloads if isinstance(each, RollingScore)), start=1):
        for window in rolling.windows:
            kept = slice(max(0, count - (segments_in(window.window_seconds or 1e6))), count)
            expected = np.average(probabilities[kept], axis=0, weights=speech[kept])
            assert window.cause is CAUSES[expected.argmax()]
            assert window.cause_probability == pytest.approx(expected.max(), abs=2e-3)
            assert window.snr_db == pytest.approx(float(snr_db(np.array(NOISINESS))), abs=1e-3)
    counts = Counter(segment.cause for segment in segments)
    for cause in Cause:
        counted = agent.metrics.registry.get_sample_value("livemos_segment_causes_total", {"cause": cause.value})
        assert counted == counts[cause], cause
    newest = rolling.windows
    assert [newest[0].cause, newest[3].cause] == [Cause.LEVEL, Cause.LEVEL]


def test_a_scoring_call_answers_with_the_cause_of_the_clip(agent: Agent) -> None:
    """The other service of the wire."""
    config = pb.AudioConfig(sample_rate_hz=16_000, encoding=pb.ENCODING_FLOAT32)
    with grpc.insecure_channel(f"127.0.0.1:{agent.grpc_port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = quality_pb2_grpc.ScoringServiceStub(channel)
        request = pb.ScoreRequest(config=config, audio=_soft_then_loud().tobytes(), include_segments=True)
        score = stub.Score(request, timeout=20).score
    assert (score.cause, score.segments[0].cause) == (pb.CAUSE_LEVEL, pb.CAUSE_NOISE)
    assert 0.5 < score.cause_probability < score.segments[-1].cause_probability
    assert score.snr_db == pytest.approx(float(snr_db(np.array(NOISINESS))), abs=1e-3)


def test_scores_of_files_end_with_cause_probability_and_snr(bundle: Path, tmp_path: Path) -> None:
    """Three columns at the end of a promised list; programs that read the old ones by place still do."""
    file = tmp_path / "a.wav"
    soundfile.write(file, _soft_then_loud(), 16_000, subtype="FLOAT")
    arguments = [str(file), "--bundle", str(bundle), "--format", "csv"]
    rows = []
    for flags in ([], ["--segments"]):
        result = typer.testing.CliRunner().invoke(app, [*arguments, *flags], catch_exceptions=False)
        assert result.stdout.splitlines()[0].endswith(",reason,model_id,cause,cause_probability,snr_db")
        rows += list(csv.DictReader(io.StringIO(result.stdout)))
    assert (rows[0]["cause"], rows[1]["cause"], rows[-1]["cause"]) == ("level", "noise", "level")
    assert 0.5 < float(rows[0]["cause_probability"]) < float(rows[-1]["cause_probability"]) <= 1.0
    assert float(rows[0]["snr_db"]) == pytest.approx(float(snr_db(np.array(NOISINESS))), abs=1e-3)


def test_the_streams_of_a_capture_have_causes_of_their_own(bundle: Path, tmp_path: Path) -> None:
    """Segments of all streams share engine calls; the cause of one must not become its neighbour's."""
    writer, encoder = CaptureWriter(), make_encoder("PCMU/8000")
    sound = {1: white(0.05, 3.0)[::2], 2: white(LOUD, 3.0)[::2]}  # half the band is empty: the softer one is soft
    for n in range(150):
        for ssrc, samples in sound.items():
            payload = encoder.encode(samples[160 * n : 160 * n + 160])
            writer.add(pcmu(n, payload=payload, ssrc=ssrc), 0.02 * n + 0.001 * ssrc)
    streams, _ = CaptureScorer(bundle).score(writer.write(tmp_path / "call.pcap"))
    assert [stream.clip.cause for stream in streams if stream.clip] == [Cause.NOISE, Cause.LEVEL]
    rows = [row for row in _log_rows([(tmp_path, stream) for stream in streams]) if row["what"] == "segment"]
    assert {(row["source_id"], row["cause"]) for row in rows} == {
        (stream.description.source_id, cause) for stream, cause in zip(streams, ("noise", "level"), strict=True)
    }
    assert [row["cause"] for row in _stream_rows([(tmp_path, stream) for stream in streams])] == ["noise", "level"]


def test_a_dry_run_names_no_damage(bundle: Path) -> None:
    """Fixed scores blame nobody."""
    clip = Scorer(bundle, engine="constant").score(white(LOUD, 2.0), 16_000)
    assert (clip.cause, clip.cause_probability) == (Cause.NONE, 1.0)

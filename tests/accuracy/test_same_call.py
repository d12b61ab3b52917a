"""One call in many containers, rates and transports: what may change the score, and by how much."""

from __future__ import annotations

import time
from pathlib import Path

import material
import numpy as np
import pytest
import soundfile
import soxr

from livemos.agent.clock import SystemClock
from livemos.agent.commands.rtp_player import encode, play
from livemos.agent.daemon import Agent
from livemos.agent.records import EventKind, Samples, SegmentScore, SourceEvent
from livemos.agent.scorer import Scorer
from livemos.agent.settings import load_settings
from livemos.agent.sources.audio_file import read_audio
from livemos.agent.sources.rtp import RtpSource

SPEED = 8  # times real time: the media clock of RTP is its timestamp, not the arrival


class FastClock(SystemClock):
    """Waits an eighth of what it is asked to."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = time.monotonic()

    def monotonic(self) -> float:
        return (time.monotonic() - self._begun) * SPEED

    def sleep_until(self, monotonic_seconds: float) -> None:
        remaining = (monotonic_seconds - self.monotonic()) / SPEED
        if remaining > 0:
            time.sleep(remaining)


@pytest.fixture(scope="module")
def speech() -> Samples:
    """A clip whose samples are 16-bit values, so that no container rounds it."""
    samples = material.load(material.DATA / "clean" / "en-ls7505.flac")
    return (np.round(samples * 32768) / 32768).astype(np.float32)


def score_over_rtp(samples: Samples, encoding: str, payload_type: int) -> list[SegmentScore]:
    """Through a real socket of a real agent; every packet arrives."""
    source = {"type": "rtp", "name": "call", "host": "127.0.0.1", "port": 0, "idle_seconds": 0.5}
    source["payload_types"] = {payload_type: encoding} if payload_type >= 96 else {}
    settings = load_settings(flags={"grpc": {"port": 0}, "sources": [source]}).settings
    clip = encode(samples, encoding)
    with Agent(settings) as agent, agent.hub.listen() as listener:
        (rtp,) = [source for source in agent.sources if isinstance(source, RtpSource)]
        lost = np.zeros(len(clip.payloads), np.bool_)
        destination = ("127.0.0.1", rtp.port)
        for _ in play(clip, lost, destination=destination, payload_type=payload_type, ssrc=7, clock=FastClock()):
            pass
        segments = []
        while True:
            item = listener.get(20.0)
            assert item is not None, "the agent went silent"
            payload = item.payload  # type: ignore[union-attr]
            if isinstance(payload, SegmentScore):
                segments.append(payload)
            elif isinstance(payload, SourceEvent) and payload.kind is EventKind.SOURCE_ENDED:
                snapshot = agent.hub.source(payload.source_id)
                assert snapshot is not None
                assert snapshot.media.lost_packets == 0
                return segments


def _mos(segments: list[SegmentScore]) -> np.ndarray:
    return np.array([np.nan if s.mos is None else s.mos for s in segments])


def test_containers_of_the_same_samples_give_the_same_score(scorer: Scorer, speech: Samples, tmp_path: Path) -> None:
    """WAV and FLAC are wrappings."""
    scores = []
    for name in ("call.wav", "call.flac"):
        soundfile.write(tmp_path / name, speech, 16_000, subtype="PCM_16")
        scores.append(scorer.score(*read_audio(tmp_path / name)).mos)
    assert scores[0] == scores[1] == scorer.score(speech, 16_000).mos


def test_a_stereo_file_at_48_khz_of_the_same_call_scores_the_same_within_a_tenth(
    scorer: Scorer, speech: Samples
) -> None:
    """Only the resampler's filters differ, at the very edge of the band."""
    at_48 = soxr.resample(speech, 16_000, 48_000, quality="VHQ")
    clip = scorer.score(np.stack([at_48, at_48], axis=1).astype(np.float32), 48_000)
    assert clip.mos == pytest.approx(scorer.score(speech, 16_000).mos, abs=0.1)


def test_an_8_khz_file_is_heard_as_the_narrow_band_it_is(scorer: Scorer, speech: Samples) -> None:
    """It loses what a listener to wide-band speech misses, in coloration above all; it keeps its continuity."""
    narrow = scorer.score(soxr.resample(speech, 16_000, 8_000, quality="VHQ").astype(np.float32), 8_000)
    wide = scorer.score(speech, 16_000)
    assert narrow.mos is not None
    assert wide.mos is not None
    assert wide.mos - 2.0 < narrow.mos < wide.mos
    assert narrow.coloration is not None
    assert wide.coloration is not None
    assert narrow.coloration < wide.coloration - 0.5


def test_rtp_without_loss_and_without_a_lossy_codec_equals_the_file(scorer: Scorer, speech: Samples) -> None:
    """L16 at 16 kHz carries the very samples: socket, session, ring and batcher must not touch them."""
    file = scorer.score(speech, 16_000)
    heard = score_over_rtp(speech, "L16/16000/1", 96)
    # the sender left out the rest that fills no packet, which can cost the last segment
    expected = _mos(list(file.segments))[: len(heard)]
    assert len(file.segments) - len(heard) <= 1
    np.testing.assert_allclose(_mos(heard), expected, atol=1e-4)


@pytest.mark.parametrize(("encoding", "payload_type", "limit"), [("G722/8000", 9, 0.6), ("opus/48000/2", 111, 1.0)])
def test_wide_band_codecs_without_loss_cost_little(
    scorer: Scorer, speech: Samples, encoding: str, payload_type: int, limit: float
) -> None:
    """A codec's own damage is part of the call, but a good codec must not look like a bad line."""
    clean = np.nanmean(_mos(list(scorer.score(speech, 16_000).segments)))
    heard = np.nanmean(_mos(score_over_rtp(speech, encoding, payload_type)))
    assert clean - limit < heard < clean + 0.3

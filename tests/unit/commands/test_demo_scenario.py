"""What the demo plays: each phase has its fault and no other, and the borders are known to the sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from livemos.agent.commands.demo import demo_settings
from livemos.agent.commands.demo_scenario import PHASES, build_scenario
from livemos.agent.commands.rtp_player import demo_speech, encode
from livemos.agent.records import SegmentScore
from livemos.agent.settings import LimitSettings


def _segment(start: int) -> SegmentScore:
    return SegmentScore(
        source_id="", segment_index=0, start_sample=start, start_unix_seconds=0.0, ready_unix_seconds=1.0
    )


def test_only_the_lossy_phase_loses_packets_and_only_the_noisy_one_is_noisy() -> None:
    """The summary blames a phase for its score; the faults must not leak into the clean ones."""
    speech = demo_speech()
    scenario = build_scenario(speech)
    looped = np.resize(speech, scenario.starts[-1])
    for phase, start, end in zip(scenario.phases, scenario.starts, scenario.starts[1:], strict=False):
        packets = scenario.lost[start // 320 : end // 320]
        assert packets.mean() == pytest.approx(phase.lost_ratio, abs=0.05)
        difference = scenario.samples[start:end] - looped[start:end]
        if phase.snr_db is not None:
            snr_db = 20 * np.log10(looped[start:end].std() / difference.std())
            assert snr_db == pytest.approx(phase.snr_db, abs=0.3)
        elif phase.narrow_band:
            spectrum = np.abs(np.fft.rfft(scenario.samples[start:end])) ** 2
            above = spectrum[len(spectrum) * 9 // 16 :].sum()  # from 4.5 kHz on
            assert above < 1e-5 * spectrum.sum()
        else:
            assert not difference.any()


def test_a_segment_belongs_to_a_phase_only_when_it_lies_wholly_inside() -> None:
    """A second that is half clean says nothing about either."""
    scenario = build_scenario(demo_speech())
    border = scenario.starts[1]
    assert scenario.phase_of(_segment(border - 16_000)) is PHASES[0]
    assert scenario.phase_of(_segment(border - 8_000)) is None
    assert scenario.phase_of(_segment(border)) is PHASES[1]


def test_the_demo_takes_nothing_over_from_the_operators_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that serves it would bind the service's ports, or hear the service's calls and judge by them."""
    site = tmp_path / "site.toml"
    site.write_text('[limits]\nstreams = 1\n[[sources]]\ntype = "rtp"\nname = "bridge"\nport = 5004\n')
    monkeypatch.setenv("LIVEMOS_CONFIG", str(site))
    monkeypatch.setenv("LIVEMOS_METRICS__PORT", "9101")
    settings = demo_settings()
    assert [(source.name, source.type) for source in settings.sources] == [("demo", "rtp")]
    assert (settings.grpc.host, settings.grpc.port) == ("127.0.0.1", 0)
    assert settings.metrics.port is None
    assert settings.limits == LimitSettings()


@pytest.mark.parametrize("encoding", ["PCMU/8000", "PCMA/8000", "G722/8000", "opus/48000/2", "L16/16000/1"])
def test_the_packaged_clip_can_be_sent_in_every_codec(encoding: str) -> None:
    """Demo and benchmarks play it in all of them."""
    clip = encode(demo_speech(), encoding)
    assert len(clip.payloads) == 492
    assert clip.timestamp_step == (960 if encoding.startswith("opus") else 320 if encoding.startswith("L16") else 160)

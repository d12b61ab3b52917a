"""The cause of a low score is what cost most, read from the design of the families."""

from __future__ import annotations

import json

import numpy as np
import pytest

from livemos.agent.features import LogMel
from livemos.training.causes import NO_CAUSE, Columns, find_causes, find_evidence, of_windows
from livemos.training.damages import CAUSES
from livemos.training.labels import make_targets

NOISE, LOSS, LEVEL, CLIPPING = (CAUSES.index(name) for name in ("noise", "loss", "level", "clipping"))


def table(pesq: list[float], damages: list[list[str]], ladder: str, level_dbov: float = -26.0) -> Columns:
    """One family; every damage at severity 0.5 and without parameters that matter here."""
    clips = len(pesq)
    parameters = {"lost_ratio": 0.1}
    return {
        "pesq_wb": np.array(pesq),
        "level_dbov": np.full(clips, level_dbov),
        "source_snr_db": np.full(clips, 60.0),
        "source_bandwidth_hz": np.full(clips, 8000.0),
        "response_db": np.zeros((clips, 64)),
        "member": np.arange(clips),
        "family": np.zeros(clips),
        "severity": np.linspace(0.0, 1.0, clips),
        "ladder": np.array([ladder] * clips),
        "damages": np.array([json.dumps([[kind, parameters] for kind in kinds]) for kinds in damages]),
        "severities": np.array([json.dumps([0.5] * len(kinds)) for kinds in damages]),
        "speech_ratio": np.full((clips, 3), 0.8),
        "gap_ratio": np.zeros((clips, 3)),
        "lost_ratio": np.tile([0.0, 0.3, 0.0], (clips, 1)),
        "clipped_ratio": np.zeros((clips, 3)),
        "noise_db": np.full((clips, 3), -20.0),
    }


def test_the_rising_kind_is_the_cause_once_it_costs_most() -> None:
    """Member 0 is fine; the last lost most to loss; each knows how much."""
    causes = find_causes(table([4.64, 4.5, 2.0], [[], ["loss"], ["loss"]], "loss"))
    assert causes.cause.tolist()[0] == NO_CAUSE
    assert causes.cause[2] == LOSS
    assert causes.effects[2, LOSS] > 1.0
    assert causes.effects[2].sum() == pytest.approx(causes.effects[2, LOSS])
    assert causes.known.all()


def test_a_bad_base_stays_the_cause_of_a_slightly_worse_clip() -> None:
    """A little loss on a very noisy call is not what is wrong with it."""
    causes = find_causes(table([1.5, 1.45], [["noise"], ["noise", "loss"]], "loss"))
    assert causes.cause.tolist() == [NOISE, NOISE]
    assert 0.0 < causes.effects[1, LOSS] < causes.effects[1, NOISE]


def test_a_second_that_the_loss_spared_has_another_cause() -> None:
    """The meter says what is wrong now, not what was wrong a second ago."""
    columns = table([3.9, 1.3], [["noise"], ["noise", "loss"]], "loss")
    columns["gap_ratio"] = np.array([[0.0, 0.0, 0.0], [0.0, 0.4, 0.0]])
    targets = make_targets(columns)
    clips, windows = np.arange(2), np.tile(np.arange(3), (2, 1))
    assert of_windows(targets, clips, windows, np.full(2, -26.0)).tolist() == [[NOISE] * 3, [NOISE, LOSS, NOISE]]
    assert find_causes(columns).cause.tolist() == [NOISE, LOSS]


def test_overload_by_the_output_level_is_clipping() -> None:
    """Families differ by what was done to them and by their level, which alone may drive them into the end of scale."""
    columns = table([4.0, 1.5], [[], ["loss"]], "loss", level_dbov=-20.0)
    columns["clipped_ratio"] = np.array([[0.0] * 3, [0.04] * 3])
    effects = find_causes(columns).effects
    assert effects[1, CLIPPING] == pytest.approx(0.15 + 3.5 * 0.2, abs=0.01)
    assert effects[1, LOSS] > 0.0
    columns["clipped_ratio"] = np.full((2, 3), 0.04)
    causes = find_causes(columns)
    assert causes.cause[0] == CLIPPING and causes.effects[1, LOSS] > effects[1, LOSS]


def test_a_whisper_is_marked_down_for_its_level() -> None:
    """PESQ does not hear level, the label's penalty does."""
    assert find_causes(table([4.64], [[]], "loss", level_dbov=-52.0)).cause.tolist() == [LEVEL]


def test_a_clip_without_label_has_no_known_cause() -> None:
    """Silence is no cause."""
    assert not find_causes(table([float("nan")], [[]], "")).known.any()


def test_evidence_is_the_truth_of_the_table() -> None:
    """The figures beside a cause: what the network is asked to estimate."""
    columns = table([3.0], [["loss"]], "loss")
    edge = LogMel().band_edges_hz[1:-1] > 3400.0
    columns["response_db"] = np.where(edge, -40.0, 0.0)[None]
    evidence = find_evidence(columns, LogMel())
    assert evidence.snr_db[0] == pytest.approx(20.0, abs=0.01)
    assert evidence.concealed_ratio[0] == pytest.approx(0.1)
    assert evidence.bandwidth_hz[0] == pytest.approx(3400.0, rel=0.06)
    assert evidence.clipped_ratio[0] == 0.0

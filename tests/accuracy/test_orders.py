"""The packaged model on speech it was never trained on: orders that every listener would give."""

from __future__ import annotations

from collections.abc import Callable

import material
import numpy as np
import pytest

from livemos.agent.reasons import Reason
from livemos.agent.records import Samples
from livemos.agent.scorer import Scorer
from livemos.agent.sources.audio_file import read_audio

CHAINS: dict[str, tuple[Callable[[Samples], Samples], ...]] = {
    "clean > noise at 20 dB > noise at 5 dB": (
        lambda x: x,
        lambda x: material.with_noise(x, 20),
        lambda x: material.with_noise(x, 5),
    ),
    "clean > 5 % loss > 20 % loss": (
        lambda x: x,
        lambda x: material.with_loss(x, 0.05),
        lambda x: material.with_loss(x, 0.20),
    ),
    "clean > clipped": (lambda x: x, material.clipped),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_twenty_held_out_clips_are_ordered_by_their_damage(scorer: Scorer, chain: str) -> None:
    """The violations are counted and must stay zero; a model that loses an order is not shipped."""
    violations = []
    for path in material.CLIPS:
        clean = material.load(path)
        scores = [scorer.score(damage(clean), 16_000).mos for damage in CHAINS[chain]]
        if any(score is None for score in scores) or not np.all(np.diff(np.array(scores, float)) < 0):
            violations.append((path.name, scores))
    assert len(material.CLIPS) == 20
    assert violations == []


@pytest.mark.parametrize("name", ["extractor-fan.flac", "rain.flac", "glockenspiel.flac", "ravel.flac"])
def test_noise_and_music_alone_are_no_speech(scorer: Scorer, name: str) -> None:
    """The mos of a fan or an orchestra would be a number without a meaning."""
    samples, sample_rate_hz = read_audio(material.DATA / "other" / name)
    clip = scorer.score(samples * np.float32(3), sample_rate_hz)
    assert (clip.mos, clip.reason) == (None, Reason.NO_SPEECH)


def test_clean_speech_of_every_level_a_call_has_is_scored(scorer: Scorer) -> None:
    """From -46 to -16 dBov active level a clean talker keeps a score, and most of it speech."""
    for path in material.CLIPS[:5]:
        for gain_db in (-10.0, 0.0, 10.0, 20.0):
            clip = scorer.score(material.load(path, gain_db), 16_000)
            assert clip.mos is not None, (path.name, gain_db, clip.reason)
            assert clip.speech_seconds > 0.5 * clip.seconds

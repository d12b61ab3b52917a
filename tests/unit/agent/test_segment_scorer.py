"""Gate, features and engine together: each segment gets a score or a reason, whatever its neighbours are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from livemos.agent.bundle import Bundle
from livemos.agent.engine.base import EngineDescription, Features, Outputs
from livemos.agent.errors import EngineError
from livemos.agent.reasons import Reason
from livemos.agent.records import Samples
from livemos.agent.segment_scorer import MOS, SPEECH_RATIO, SegmentScorer


class _Engine:
    """Answers with the rows it was given."""

    def __init__(self, rows: list[list[float]] | None) -> None:
        self._rows = rows
        self.asked: list[int] = []

    def score(self, features: Features) -> Outputs:
        self.asked.append(len(features))
        if self._rows is None:
            raise EngineError("the device is gone")
        return np.array(self._rows[: len(features)], np.float32)

    def warm_up(self) -> None:
        """Nothing."""

    def describe(self) -> EngineDescription:
        return EngineDescription(name="rows", device="test", precision="fp32", version="1")


def _row(mos: float = 4.0, speech: float = 0.8) -> list[float]:
    return [mos, 4.0, 4.0, 4.0, 4.0, speech, 0.4]  # the manifest's order, not VALUES'


def test_only_segments_that_pass_the_gate_are_put_to_the_network(
    graphless_bundle: Bundle, noise: Callable[..., Samples]
) -> None:
    """Silence costs nothing and NaN never reaches the engine; answers return to the right rows."""
    engine = _Engine([_row(mos=2.0), _row(mos=4.5)])
    segments = np.stack(
        [np.zeros(16_000, np.float32), noise(16_000), np.full(16_000, np.nan, np.float32), noise(16_000, seed=1)]
    )
    scores = SegmentScorer(graphless_bundle, engine).score(segments, np.zeros(4, np.float32))
    assert engine.asked == [2]
    assert scores.reasons == [Reason.SILENCE, None, Reason.BAD_AUDIO, None]
    assert scores.values[1, MOS] == 2.0
    assert scores.values[3, MOS] == 4.5
    assert np.isnan(scores.values[[0, 2]]).all()


def test_each_answer_is_that_of_its_own_sound(graphless_bundle: Bundle, noise: Callable[..., Samples]) -> None:
    """With silence in front, the features of the second and third segment must be theirs."""

    class Loudness(_Engine):
        def score(self, features: Features) -> Outputs:
            return np.array([_row(mos=float(np.clip(row.mean() / 4 + 3, 1, 5))) for row in features], np.float32)

    segments = np.stack([np.zeros(16_000, np.float32), noise(16_000, 0.01), noise(16_000, 0.3)])
    scorer = SegmentScorer(graphless_bundle, Loudness([]))
    scores = scorer.score(segments, np.zeros(3, np.float32))
    alone = [scorer.score(row[None], np.zeros(1, np.float32)).values[0, MOS] for row in segments[1:]]
    assert scores.values[1:, MOS].tolist() == alone
    assert alone[0] < alone[1] - 0.5


def test_sound_without_speech_keeps_its_speech_ratio_and_gets_no_mos(
    graphless_bundle: Bundle, noise: Callable[..., Samples]
) -> None:
    """An operator sees how far from speech it was, but no number that could be taken for quality."""
    scores = SegmentScorer(graphless_bundle, _Engine([_row(speech=0.02)])).score(
        noise(16_000)[None], np.zeros(1, np.float32)
    )
    assert scores.reasons == [Reason.NO_SPEECH]
    assert np.isnan(scores.values[0, MOS])
    assert scores.values[0, SPEECH_RATIO] == np.float32(0.02)


def test_a_failing_engine_gives_model_error_and_says_why(
    graphless_bundle: Bundle, noise: Callable[..., Samples]
) -> None:
    """The agent keeps receiving; silence keeps its own reason."""
    segments = np.stack([noise(16_000), np.zeros(16_000, np.float32)])
    scores = SegmentScorer(graphless_bundle, _Engine(None)).score(segments, np.zeros(2, np.float32))
    assert scores.reasons == [Reason.MODEL_ERROR, Reason.SILENCE]
    assert scores.failure == "the device is gone"


def test_a_runtime_that_breaks_in_its_own_way_gives_model_error_too(
    graphless_bundle: Bundle, noise: Callable[..., Samples]
) -> None:
    """A driver's exception must not end the one thread that scores every stream."""

    class Broken(_Engine):
        def score(self, features: Features) -> Outputs:
            raise RuntimeError("illegal memory access")

    scores = SegmentScorer(graphless_bundle, Broken([])).score(noise(16_000)[None], np.zeros(1, np.float32))
    assert (scores.reasons, scores.failure) == ([Reason.MODEL_ERROR], "RuntimeError: illegal memory access")


def test_a_non_finite_answer_is_a_model_error_for_that_segment_alone(
    graphless_bundle: Bundle, noise: Callable[..., Samples]
) -> None:
    """One NaN out of the network must neither be published nor spread."""
    engine = _Engine([_row(mos=float("nan")), _row(mos=3.5)])
    segments = np.stack([noise(16_000), noise(16_000, seed=1)])
    scores = SegmentScorer(graphless_bundle, engine).score(segments, np.zeros(2, np.float32))
    assert scores.reasons == [Reason.MODEL_ERROR, None]
    assert scores.values[1, MOS] == 3.5


def test_answers_outside_the_range_of_the_manifest_are_clipped_to_it(
    graphless_bundle: Bundle, noise: Callable[..., Samples]
) -> None:
    """A MOS of 5.3 does not exist."""
    scores = SegmentScorer(graphless_bundle, _Engine([_row(mos=5.3)])).score(
        noise(16_000)[None], np.zeros(1, np.float32)
    )
    assert scores.values[0, MOS] == 5.0


def test_an_answer_that_is_half_a_number_is_none(graphless_bundle: Bundle, noise: Callable[..., Samples]) -> None:
    """What a failing network says of speech is worth as much as what it says of quality."""
    broken = _row()
    broken[2] = np.nan
    segments = np.stack([noise(16_000), noise(16_000, seed=1)])
    scores = SegmentScorer(graphless_bundle, _Engine([broken, _row()])).score(segments, np.zeros(2, np.float32))
    assert scores.reasons == [Reason.MODEL_ERROR, None]
    assert np.isnan(scores.values[0]).all()
    assert np.isfinite(scores.values[1]).all()

"""Network and signal MOS side by side: the event that neither of them gives alone."""

from __future__ import annotations

from livemos.agent.disagreement import Disagreement
from livemos.agent.reasons import Reason
from livemos.agent.records import EventKind, MediaStatistics, SegmentScore

BEGINS, ENDS = EventKind.DISAGREEMENT, EventKind.DISAGREEMENT_ENDED


def events(*spans: tuple[float | None, float | None, int], codec: str = "G722/8000") -> list[tuple[EventKind, int]]:
    """(kind, segment) for spans of (signal MOS, network MOS, segments)."""
    watch, found, index = Disagreement(), [], 0
    for mos, network_mos, count in spans:
        for _ in range(count):
            reason = Reason.SILENCE if mos is None else None
            score = SegmentScore(
                source_id="desk/1",
                segment_index=index,
                start_sample=8_000 * index,
                start_unix_seconds=0.0,
                ready_unix_seconds=0.0,
                mos=mos,
                speech_ratio=None if mos is None else 0.8,
                reason=reason,
            )
            event = watch.heard(score, MediaStatistics(codec=codec, recent_network_mos=network_mos))
            if event is not None:
                found.append((event[0], index))
            index += 1
    return found


def test_a_bad_signal_on_a_good_network_is_one_event_after_three_seconds() -> None:
    """Six segments are 3 s; the same fault for a minute is still one event."""
    assert events((2.0, 4.4, 120)) == [(BEGINS, 5)]


def test_a_good_signal_on_a_bad_network_is_the_same_event() -> None:
    """Loss that redundancy hid: nobody hears it, and somebody should know."""
    assert events((4.3, 2.5, 20)) == [(BEGINS, 5)]


def test_one_bad_second_is_no_event() -> None:
    """A cough of the line is not yet a disagreement: the mean of 3 s stays above the limit."""
    assert events((4.2, 4.4, 20), (2.0, 4.4, 2), (4.2, 4.4, 20)) == []


def test_the_end_is_said_once_and_only_after_it_lasted() -> None:
    """A fault that comes and goes is one alarm and not twenty."""
    found = events((2.0, 4.4, 10), (4.2, 4.4, 4), (2.0, 4.4, 10), (4.2, 4.4, 30))
    assert [kind for kind, _ in found] == [BEGINS, ENDS]
    assert found[1][1] > 24 + 6


def test_nothing_is_said_without_both() -> None:
    """Silence has no signal MOS, a wrong media rate no network MOS: absent is not good and not bad."""
    assert events((None, 4.4, 40)) == []
    assert events((2.0, None, 40)) == []
    assert events((2.0, 4.4, 3), (2.0, None, 1), (2.0, 4.4, 5)) == []


def test_a_tone_between_two_silences_is_no_speech_to_compare() -> None:
    """12 s of ringing, 2 s in 6, that the model takes for bad speech: nobody has spoken yet."""
    ring = ((2.2, 4.4, 5), (None, 4.4, 7))
    assert events(*ring, *ring, *ring) == []


def test_a_narrow_band_call_is_compared_on_the_narrow_band_scale() -> None:
    """Clean G.711 is not as good as G.722, and that is no disagreement; on G.722 the same score is one."""
    assert events((2.9, 4.4, 20), codec="PCMU/8000") == []
    assert [kind for kind, _ in events((2.9, 4.4, 20))] == [BEGINS]
    assert [kind for kind, _ in events((1.8, 4.4, 20), codec="PCMU/8000")] == [BEGINS]


def test_bad_on_both_sides_is_agreement() -> None:
    """A lossy call that sounds lossy is told by its scores."""
    assert events((2.0, 2.5, 40), (3.5, 4.4, 40), (4.2, 3.6, 40)) == []

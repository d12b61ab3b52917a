"""Where the network says the call is good and the audio says it is bad, or the reverse: neither alone tells of it.

Compared are the signal MOS of 3 s of speech without a pause, on the scale of the codec, and what the network allowed
in its last seconds. A pause, or a ringing tone between two silences, is too short to count. Robots and stutter made
before the first packet leave the network perfect; loss that recovery hid leaves the signal good.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from livemos.agent.records import STRIDE_SECONDS, EventKind, MediaStatistics, SegmentScore
from livemos.agent.rtp.network_mos import on_scale_of

GOOD_MOS, BAD_MOS = 4.0, 3.0
WINDOW_SECONDS = 3.0
_WINDOW_SEGMENTS = round(WINDOW_SECONDS / STRIDE_SECONDS)


@dataclass(frozen=True, slots=True)
class _Heard:
    mos: float | None
    speech_ratio: float
    network_mos: float | None


class Disagreement:
    """One stream's. `heard` for each segment in order answers with an event when the two part, and when they meet."""

    def __init__(self) -> None:
        self._heard: deque[_Heard] = deque(maxlen=_WINDOW_SEGMENTS)
        self._parted = False
        self._apart_segments = 0  # in a row that contradict the state

    def heard(self, score: SegmentScore, media: MediaStatistics) -> tuple[EventKind, str] | None:
        """The next segment, with the packets' statistics as of its end."""
        mos = None if score.mos is None or media.codec is None else on_scale_of(media.codec, score.mos)
        self._heard.append(_Heard(mos, score.speech_ratio or 0.0, media.recent_network_mos))
        signal, network = self._signal_mos(), self._network_mos()
        if signal is None or network is None:
            return None  # without speech or a network MOS nothing is learnt, in either direction
        parted = (network[0] >= GOOD_MOS and signal <= BAD_MOS) or (network[1] <= BAD_MOS and signal >= GOOD_MOS)
        if parted is self._parted:
            self._apart_segments = 0
            return None
        self._apart_segments += 1
        # the window itself is the 3 s of the beginning; the end must last as long again, so that it is said once
        if not parted and self._apart_segments < _WINDOW_SEGMENTS:
            return None
        self._parted, self._apart_segments = parted, 0
        detail = f"network MOS {sum(network) / 2:.1f}, signal MOS {signal:.1f} over {WINDOW_SECONDS:g} s"
        return (EventKind.DISAGREEMENT if parted else EventKind.DISAGREEMENT_ENDED), detail

    def _signal_mos(self) -> float | None:
        scored = [(each.mos, max(each.speech_ratio, 1e-3)) for each in self._heard if each.mos is not None]
        if len(scored) < _WINDOW_SEGMENTS:
            return None
        return sum(mos * weight for mos, weight in scored) / sum(weight for _, weight in scored)

    def _network_mos(self) -> tuple[float, float] | None:
        """Least and greatest inside the window; None where it was withheld at any time."""
        values = [each.network_mos for each in self._heard if each.network_mos is not None]
        return (min(values), max(values)) if len(values) == len(self._heard) else None

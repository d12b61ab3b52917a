"""When a listener's jitter buffer plays a packet: profiles in milliseconds, pure numbers, no audio.

`ideal` has no buffer: it plays what continues the stream and waits only behind a gap (agent/rtp/listener.py).
The others hold every packet until its instant; what comes later is discarded and concealed, as a telephone would.
Window, trimmed share and steps of the adaptive buffer are those of the Asterisk family of jitter buffers.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass

from livemos.agent.rtp.clock_drift import ClockDrift
from livemos.agent.rtp.wraparound import difference32

IDEAL = "ideal"
HISTORY_PACKETS = 500
TRIMMED_RATIO = 0.03  # of the history at each end
EXTRA_SECONDS = 0.04  # above the spread, and the distance at which the adaptive buffer shrinks
ADJUSTMENT_SECONDS = 0.04  # between two steps of the adaptive buffer, one packet each
CALM_SECONDS = 1.0  # without growth, before speech is dropped to shrink
RESYNC_PACKETS = 2  # in a row outside the window
LATE_SECONDS = 0.2  # of packets in a row too late: a fixed buffer takes the new delay
FASTEST_DRIFT_PPM = 500.0  # no quartz is farther off
_DRIFT_SECONDS = 1.0  # how often the schedule learns of the drift
PAUSE_SECONDS = 0.01  # more time than packets between two packets is a pause


@dataclass(frozen=True, slots=True)
class Profile:
    """delay_seconds: of a fixed buffer; the most of an adaptive one. resync_seconds: window around the expected."""

    delay_seconds: float
    resync_seconds: float
    adaptive: bool = False


PROFILES: dict[str, Profile | None] = {
    IDEAL: None,
    "fixed50": Profile(0.05, 0.1),
    "fixed200": Profile(0.2, 0.2),
    "adaptive500": Profile(0.5, 0.5, adaptive=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An audio packet: extended sequence number, RTP timestamp, duration (0: not known yet), when it came."""

    extended: int
    timestamp: int
    arrival_seconds: float
    duration_seconds: float
    clock_rate_hz: int
    marker: bool


class Playout:
    """One listener's schedule: the packet at media position p plays at `p + offset_seconds`.

    Positions are seconds on the receiver's clock: the sender's drift is taken out. `shift_seconds` is how far the
    listener's time moved against the media: what the next packets must be preceded by, or lose.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._newest: Arrival | None = None
        self._position = 0.0  # of the newest
        self.offset_seconds = 0.0
        self.shift_seconds = 0.0
        self._drift = ClockDrift()
        self._drift_ppm = self._drift_asked_seconds = self._media_seconds = 0.0
        self.shifted_in_silence = False  # the shift belongs to a pause before a talk spurt
        self.resyncs = self.insertions = self.slips = 0
        self._outside = 0  # packets in a row outside the window
        self._late_seconds = 0.0  # media of packets in a row too late
        self._history: deque[float] = deque(maxlen=HISTORY_PACKETS)
        self._sorted: list[float] = []
        self._target = 0.0  # offset the adaptive buffer heads for
        self._adjusted_seconds = self._grown_seconds = float("-inf")

    def position_beside(self, arrival_seconds: float) -> float:
        """Of a packet without a place of its own (a key press, comfort noise): with the audio before it."""
        return self._first_position(arrival_seconds) if self._newest is None else self._position

    def position_of(self, extended: int, duration_seconds: float) -> float | None:
        """Of an audio packet that did not come, by its number; None before audio."""
        if self._newest is None:
            return None
        return self._position + (extended - self._newest.extended) * duration_seconds

    @property
    def delay_seconds(self) -> float:
        """From the least delayed packet to its playout."""
        if not self._profile.adaptive:
            return self._profile.delay_seconds
        return self.offset_seconds - self._sorted[0] if self._sorted else 0.0

    def restart(self) -> None:
        """The sender began anew: the next packet is a first one; what waits keeps its instant."""
        self._newest = None
        self._forget_drift()

    def heard(self, packet: Arrival) -> tuple[float, float | None, bool]:
        """(position, media seconds between the newest packet and this one, in time) of a packet that arrived.

        The second is None for a packet that was overtaken: it lies in what came between two others.
        """
        newest = self._newest
        if newest is None:
            self._newest, self._position = packet, self._first_position(packet.arrival_seconds)
            self._begin(packet.arrival_seconds - self._position)
            return self._position, 0.0, True
        step = _media_step(newest, packet)
        gap = step - newest.duration_seconds
        position = self._position + step * (1.0 - 1e-6 * self._drift_ppm)
        if packet.extended < newest.extended:
            return position, None, packet.arrival_seconds <= position + self.offset_seconds
        paused = step > (packet.extended - newest.extended) * newest.duration_seconds + PAUSE_SECONDS
        self._newest, self._position = packet, position
        self._measure_drift(step, packet.arrival_seconds)
        delay = packet.arrival_seconds - position
        late = packet.arrival_seconds > position + self.offset_seconds
        if packet.marker and paused:
            self._begin_spurt(delay)
        elif self._leaves_window(delay, packet, late=late):
            self._resync(delay)
        elif self._profile.adaptive:
            self._adapt(delay, packet, late=late)
        return position, gap, packet.arrival_seconds <= position + self.offset_seconds

    def take_shift(self) -> tuple[float, bool]:
        """(seconds to insert before the next packet, or to cut from it when negative; whether in silence)."""
        shift, silent = self.shift_seconds, self.shifted_in_silence
        self.shift_seconds, self.shifted_in_silence = 0.0, False
        return shift, silent

    @property
    def too_long(self) -> bool:
        """The adaptive buffer holds more than it needs."""
        return self._profile.adaptive and self.offset_seconds - self._target > EXTRA_SECONDS

    def drops(self, duration_seconds: float, now_seconds: float, *, quiet: bool) -> bool:
        """True when a buffer that is `too_long` leaves this packet out; the packets behind it move up."""
        if not 0.0 < duration_seconds <= self.offset_seconds - self._target:
            return False
        if now_seconds - self._adjusted_seconds < ADJUSTMENT_SECONDS:
            return False
        if not quiet and now_seconds - self._grown_seconds < CALM_SECONDS:
            return False
        self.offset_seconds -= duration_seconds
        self._adjusted_seconds = now_seconds
        self.slips += 1
        return True

    def _measure_drift(self, step: float, arrival_seconds: float) -> None:
        """Of a fixed buffer alone: an adaptive one follows the delays themselves."""
        if self._profile.adaptive:
            return
        self._media_seconds += step
        self._drift.heard(self._media_seconds, arrival_seconds)
        if arrival_seconds >= self._drift_asked_seconds:
            self._drift_asked_seconds = arrival_seconds + _DRIFT_SECONDS
            ppm = self._drift.ppm or 0.0
            self._drift_ppm = ppm if abs(ppm) <= FASTEST_DRIFT_PPM else 0.0

    def _forget_drift(self) -> None:
        """A route that changed would look like drift for minutes."""
        self._drift.reset()
        self._drift_ppm = 0.0

    def _first_position(self, arrival_seconds: float) -> float:
        """Where a first packet is played after the delay of its profile while the offset stays as it is.

        A new offset would move what waits already, by as much as the stream is old.
        """
        delay = EXTRA_SECONDS if self._profile.adaptive else self._profile.delay_seconds
        return arrival_seconds + delay - self.offset_seconds

    def _begin(self, delay: float) -> None:
        """This packet's delay is the only one that is known."""
        self._outside, self._late_seconds = 0, 0.0
        if self._profile.adaptive:
            self._history.clear()
            self._sorted.clear()
            self._remember(delay)

    def _begin_spurt(self, delay: float) -> None:
        """Between two spurts the delay may move unheard."""
        if self._profile.adaptive:
            self._remember(delay)
            self._move_to(self._target, silent=True)
        else:
            self._move_to(delay + self._profile.delay_seconds, silent=True)
        self._outside, self._late_seconds = 0, 0.0

    def _leaves_window(self, delay: float, packet: Arrival, *, late: bool) -> bool:
        """Two packets in a row outside the window, or (fixed) nothing but late ones for a while."""
        expected = self.offset_seconds - self.delay_seconds
        self._outside = self._outside + 1 if abs(delay - expected) > self._profile.resync_seconds else 0
        self._late_seconds = self._late_seconds + packet.duration_seconds if late else 0.0
        lasting = not self._profile.adaptive and self._late_seconds > LATE_SECONDS
        return self._outside >= RESYNC_PACKETS or lasting

    def _resync(self, delay: float) -> None:
        """This packet's delay is the expected one from here on."""
        self.resyncs += 1
        self._forget_drift()
        self._begin(delay)
        self._move_to(self._target if self._profile.adaptive else delay + self._profile.delay_seconds, silent=False)

    def _move_to(self, offset: float, *, silent: bool) -> None:
        self.shift_seconds += offset - self.offset_seconds
        self.shifted_in_silence = silent
        self.offset_seconds = offset

    def _adapt(self, delay: float, packet: Arrival, *, late: bool) -> None:
        """Towards the target: growth at once, a packet at a time."""
        self._remember(delay)
        # one packet too late is a reason to grow before the trimmed history sees it
        wanted = max(self._target, min(delay, self._sorted[0] + self._profile.delay_seconds)) if late else self._target
        since = packet.arrival_seconds - self._adjusted_seconds
        if wanted > self.offset_seconds and since >= ADJUSTMENT_SECONDS and packet.duration_seconds:
            self._move_to(self.offset_seconds + packet.duration_seconds, silent=False)
            self._adjusted_seconds = self._grown_seconds = packet.arrival_seconds
            self.insertions += 1

    def _remember(self, delay: float) -> None:
        if len(self._history) == HISTORY_PACKETS:
            del self._sorted[bisect_left(self._sorted, self._history[0])]
        self._history.append(delay)
        insort(self._sorted, delay)
        trimmed = int(len(self._sorted) * TRIMMED_RATIO)
        least, most = self._sorted[trimmed], self._sorted[-1 - trimmed]
        self._target = least + min(max(most - least + EXTRA_SECONDS, EXTRA_SECONDS), self._profile.delay_seconds)


def _media_step(before: Arrival, after: Arrival) -> float:
    """Seconds of media from one packet to the other; a step that neither packets nor time explain is a new clock."""
    stamped = difference32(after.timestamp, before.timestamp) / after.clock_rate_hz
    packed = (after.extended - before.extended) * before.duration_seconds
    if not packed or abs(stamped - packed) < 1.0 / after.clock_rate_hz:
        return stamped
    passed = after.arrival_seconds - before.arrival_seconds
    return packed if abs(passed - packed) < abs(passed - stamped) else stamped

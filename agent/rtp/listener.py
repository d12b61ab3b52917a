"""One listener of a stream: what waits, what is played when, what comes too late. A session has one for each profile.

`ideal` decodes a packet that continues the stream at once; behind a gap packets wait, at most `reorder_wait_seconds`
from the arrival of the first that waits. The other profiles hold every packet until its instant (agent/rtp/playout.py).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from livemos.agent.records import AudioBlock, EventKind, Samples
from livemos.agent.rtp.ingest import PacketRun, Steady
from livemos.agent.rtp.media_rate import MediaRate
from livemos.agent.rtp.network_quality import NetworkQuality
from livemos.agent.rtp.payload_map import PayloadMap, Role
from livemos.agent.rtp.playout import PROFILES, Arrival, Playout
from livemos.agent.rtp.sequence import Placed
from livemos.agent.rtp.timeline import LONGEST_FILL_SECONDS, MediaTimeline, SessionEvent

_NEW_CLOCK = (EventKind.TIMESTAMP_JUMP, EventKind.TIMESTAMP_BACKWARD, EventKind.CLOCK_RATE_MISMATCH)
MAX_WAITING_PACKETS = 512  # behind one gap; more means a flood, and the gap is given up at once
QUIET_RMS = 10 ** (-50 / 20)  # a packet below is dropped first where a buffer shrinks


class Listener:
    """`offer` what arrived, then `play`; `tick` when time has passed. All give blocks in the order of the media.

    Raises ValueError for a profile that is not in PROFILES.
    """

    def __init__(self, payload_map: PayloadMap, *, profile: str, reorder_wait_seconds: float, concealment: str) -> None:
        if profile not in PROFILES:
            raise ValueError(f'no listener profile is called "{profile}"; choose one of {", ".join(PROFILES)}')
        shape = PROFILES[profile]
        self.profile = profile
        self.timeline = MediaTimeline(payload_map, concealment=concealment)
        self.rate = MediaRate()
        self.quality = NetworkQuality()
        self.playout = Playout(shape) if shape is not None else None
        self.events: list[SessionEvent] = []
        self.late_packets = self.recovered_red = 0
        self.bursts = 0  # gaps that were given up
        self.new_clock = False  # the sender's timestamps began anew since this was last looked at
        self._map = payload_map
        self._reorder_wait_seconds = reorder_wait_seconds
        self._waiting: dict[int, tuple[Placed, float]] = {}  # by extended number: with its media position
        self._next: int | None = None  # extended number that is played next
        self._played_seconds = float("-inf")  # when the newest block was
        self._cut_seconds = 0.0  # still to be left out

    def begin(self, extended: int) -> None:
        """The number the stream begins with, once it is known."""
        if self._next is None:
            self._next = extended

    @property
    def playout_delay_seconds(self) -> float:
        """How long this listener holds a packet; 0 for the ideal one."""
        return self.playout.delay_seconds if self.playout is not None else 0.0

    @property
    def next_due_seconds(self) -> float | None:
        """When `tick` will have something to give; None while no packet waits."""
        if not self._waiting:
            return None
        if self.playout is None:
            return min(placed.arrival_seconds for placed, _ in self._waiting.values()) + self._reorder_wait_seconds
        return self._waiting[min(self._waiting)][1] + self.playout.offset_seconds

    @property
    def next_number(self) -> int | None:
        """Extended number of the packet to be played next."""
        return self._next

    @property
    def recovered_packets(self) -> int:
        """Lost or late, but heard through redundancy."""
        return self.recovered_red + self.timeline.recovered_packets

    def steady(self) -> Steady | None:
        """As of MediaTimeline; None while a packet waits."""
        return None if self._waiting else self.timeline.steady()

    def play_run(self, run: PacketRun) -> AudioBlock:
        """As `offer` and `play` for each packet of a run, while `steady`."""
        assert self._next is not None
        self._next += len(run.arrivals)
        block = self.timeline.play_run(run)
        self._played_seconds = run.arrivals[-1]
        media_seconds = len(block.samples) // len(run.arrivals) / block.sample_rate_hz
        rest = run.arrivals
        while rest := rest[self.rate.heard_inside(media_seconds, rest) :]:
            self._note_rate(0.0, media_seconds, rest[0])  # ends a window, or begins the first
            rest = rest[1:]
        return block

    def offer(self, placed: Placed) -> None:
        """A packet that arrived; too late for this listener, it is counted and not heard."""
        assert self._next is not None
        if placed.restarted:
            self.rate.interrupted()
        position, in_time = 0.0, True
        if self.playout is not None:
            position, in_time = self._schedule(self.playout, placed)
        if placed.extended < self._next or not in_time:
            self.late_packets += 1
            return
        if placed.extended in self._waiting:  # what stood in for it is not needed
            self.recovered_red -= 1
        self._waiting[placed.extended] = placed, position

    def offer_recovered(self, placed: Placed) -> None:
        """A packet that never came, from what a later one repeats of it; of use only before its instant."""
        if self._next is None or placed.extended < self._next or placed.extended in self._waiting:
            return
        position = 0.0
        if self.playout is not None:
            place = self.playout.position_of(placed.extended, self.timeline.duration_seconds(placed.packet))
            if place is None or placed.arrival_seconds > place + self.playout.offset_seconds:
                return
            position = place
        self._waiting[placed.extended] = placed, position
        self.recovered_red += 1

    def play(self, now_seconds: float) -> list[AudioBlock]:
        """What the packets offered last complete."""
        blocks: list[AudioBlock] = []
        if self.playout is None:
            blocks = self._play_in_order(now_seconds)
            self._played_seconds = now_seconds
        while len(self._waiting) > MAX_WAITING_PACKETS:
            blocks += self._give_up_one_gap(now_seconds)
        self._watch_played(blocks)
        return blocks

    def tick(self, now_seconds: float) -> list[AudioBlock]:
        """What has fallen due by now: gaps are given up, held packets played."""
        blocks: list[AudioBlock] = []
        while (due := self.next_due_seconds) is not None and due <= now_seconds:
            # a packet on probation may be due before what was played last, and a buffer that shrinks plays earlier
            self._played_seconds = max(due, self._played_seconds)
            blocks += self._give_up_one_gap(self._played_seconds)
        self._watch_played(blocks)
        return blocks

    def take_events(self) -> list[SessionEvent]:
        """What happened since the last call, oldest first."""
        events = [*self.events, *self.timeline.events]
        self.events.clear()
        self.timeline.events.clear()
        return events

    def _schedule(self, playout: Playout, placed: Placed) -> tuple[float, bool]:
        """Media position, and whether it came before its instant; what is no audio goes with the audio before it."""
        packet = placed.packet
        if placed.restarted:
            playout.restart()
        encoding = self._map.encoding_of(packet.payload_type)
        if encoding is None or self._map.role_of(packet.payload_type) is not Role.AUDIO:
            return playout.position_beside(placed.arrival_seconds), True
        duration = self.timeline.duration_seconds(packet)
        position, gap_seconds, in_time = playout.heard(
            Arrival(
                extended=placed.extended,
                timestamp=packet.timestamp,
                arrival_seconds=placed.arrival_seconds,
                duration_seconds=duration,
                clock_rate_hz=self.timeline.observed_clock_rate_hz or encoding.clock_rate_hz,
                marker=packet.marker,
            )
        )
        if self.timeline.quiet:
            self.rate.interrupted()
        elif duration and gap_seconds is not None:
            self._note_rate(max(0.0, gap_seconds), duration, placed.arrival_seconds)
        return position, in_time

    def _watch_played(self, blocks: list[AudioBlock]) -> None:
        """Media against the clock, for a listener that plays on arrival. Announced pauses are no media and no fault."""
        if self.playout is not None:
            return  # measured on arrival: what a buffer inserts and cuts is its own
        if self.timeline.quiet:
            self.rate.interrupted()
        elif blocks:
            *filled, newest = (len(block.samples) / block.sample_rate_hz for block in blocks)
            self._note_rate(sum(filled), newest, blocks[-1].ready_monotonic_seconds)

    def _note_rate(self, filled_seconds: float, media_seconds: float, now_seconds: float) -> None:
        kind = self.rate.heard(filled_seconds, media_seconds, now_seconds)
        if kind is not None:
            self.events.append(SessionEvent(kind, f"{self.rate.ratio:.2f} s of media a second"))

    def _play_in_order(self, ready_seconds: float, missing_packets: int = 0) -> list[AudioBlock]:
        blocks: list[AudioBlock] = []
        while self._next is not None and (waited := self._waiting.pop(self._next, None)) is not None:
            self._next += 1
            blocks += self._play_one(waited[0], ready_seconds, missing_packets)
            missing_packets = 0
            if self.playout is not None:
                break
        return blocks

    def _play_one(self, placed: Placed, ready_seconds: float, missing_packets: int) -> list[AudioBlock]:
        shifted = self._shift(ready_seconds) if self.playout is not None else []
        changes = len(self.timeline.events)
        blocks = self.timeline.play(
            placed.packet,
            placed.arrival_seconds,
            ready_seconds=ready_seconds,
            missing_packets=missing_packets,
            restarted=placed.restarted,
        )
        if any(event.kind in _NEW_CLOCK for event in self.timeline.events[changes:]):
            self.new_clock = True
        if self.playout is None or not blocks:
            return [*shifted, *blocks]
        if self.playout.too_long:
            newest = blocks[-1]
            quiet = _rms(newest.samples) < QUIET_RMS
            if self.playout.drops(len(newest.samples) / newest.sample_rate_hz, ready_seconds, quiet=quiet):
                blocks.pop()
        return self._cut([*shifted, *blocks])

    def _shift(self, ready_seconds: float) -> list[AudioBlock]:
        """Audio that the listener hears because the buffer's delay grew; what it loses by shrinking is noted."""
        assert self.playout is not None
        seconds, silent = self.playout.take_shift()
        if seconds < 0.0:
            self._cut_seconds -= seconds
            return []
        made_seconds = min(max(0.0, seconds - self._cut_seconds), LONGEST_FILL_SECONDS)
        self._cut_seconds = max(0.0, self._cut_seconds - seconds)
        return self.timeline.insert(made_seconds, ready_seconds, silent=silent)

    def _cut(self, blocks: list[AudioBlock]) -> list[AudioBlock]:
        kept: list[AudioBlock] = []
        for block in blocks:
            cut = min(len(block.samples), round(self._cut_seconds * block.sample_rate_hz))
            self._cut_seconds -= cut / block.sample_rate_hz
            if cut < len(block.samples):
                kept.append(replace(block, samples=block.samples[cut:]) if cut else block)
        return kept

    def _give_up_one_gap(self, ready_seconds: float) -> list[AudioBlock]:
        first = min(self._waiting)
        missing_packets = first - (first if self._next is None else self._next)
        if missing_packets > 0:
            self.bursts += 1
        self._next = first
        return self._play_in_order(ready_seconds, missing_packets)


def _rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples * samples))) if samples.size else 0.0

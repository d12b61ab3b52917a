"""One SSRC at one port of ours: its session, its stream once there is one, and what its caps still let through."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

from livemos.agent.records import AudioBlock
from livemos.agent.rtp.addresses import Transport
from livemos.agent.rtp.admission import Budget
from livemos.agent.rtp.ingest import PacketRun
from livemos.agent.rtp.session import RtpSession
from livemos.agent.rtp.wall_clock import WallClock
from livemos.agent.rtp.wraparound import difference16
from livemos.agent.sources.rtp_stream import LONGEST_BURST_SECONDS, RtpStream, Unreadable

SUCCESSION_PACKETS, SUCCESSION_SECONDS = 3, 0.06  # silence of an SSRC before another one is its new generation
SUCCESSION_NUMBERS = 64  # how far behind it the sequence may go on, when several could have gone on

Key = tuple[Transport, int]  # where the packets go, and their SSRC


@dataclass(slots=True)
class Sender:
    """One SSRC at one port of ours, proven or not."""

    ssrc: int
    peer: Transport
    session: RtpSession
    first_seconds: float
    last_seconds: float
    packets: Budget
    octets: Budget
    unreadable: Unreadable | None = None
    stream: RtpStream | None = None
    held: list[AudioBlock] = field(default_factory=list)  # until it is known whose stream they belong to
    collided: bool = False
    laned: bool = False  # its packets take the fast way (agent/sources/receive_lanes.py)
    wall: WallClock = field(default_factory=WallClock)

    @property
    def interval_seconds(self) -> float:
        return self.session.packet_seconds or 0.02

    def goes_on_as(self, after: Sender) -> bool:
        """Whether the sequence numbers of `after` follow ours."""
        step = difference16(after.session.first_number, self.session.newest_number)
        return 0 < step <= SUCCESSION_NUMBERS

    def packets_left(self, size: int, now: float) -> int:
        """How many datagrams of `size` our caps let through in this second."""
        return min(self.packets.left(now), self.octets.left(now) // size)

    def push_run(self, run: PacketRun) -> list[AudioBlock]:
        """A run that our caps let through, counted against them second by second."""
        size, begin = 12 + run.payloads.shape[1], 0
        while begin < len(run.arrivals):
            now = run.arrivals[begin]
            end = bisect.bisect_left(run.arrivals, int(now) + 1)
            self.packets.take(end - begin, now)
            self.octets.take((end - begin) * size, now)
            begin = end
        self.last_seconds = run.arrivals[-1]
        return self.session.push_run(run)


def predecessor_of(sender: Sender, rivals: list[Sender]) -> Sender | None:
    """Of the streams of one address the one that fell silent before `sender` began, if it may go on as `sender`."""
    silent = [other for other in rivals if other.last_seconds < sender.first_seconds]
    if len(rivals) > 1 or any(other.session.quiet for other in silent):
        # a trunk of calls on one port: only a sequence that goes on tells who followed whom
        silent = [other for other in silent if other.goes_on_as(sender)]
    return max(silent, key=lambda other: other.last_seconds, default=None)


def has_fallen_silent(sender: Sender, now: float) -> bool:
    """Long enough for another SSRC to be its new generation; what came in a burst has to run out first."""
    wait_seconds = max(SUCCESSION_SECONDS, SUCCESSION_PACKETS * sender.interval_seconds)
    wait_seconds += min(sender.session.lead_seconds, LONGEST_BURST_SECONDS)
    return now - sender.last_seconds >= wait_seconds

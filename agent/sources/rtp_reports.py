"""RTCP of a port: checked, opened where it is sealed, and given to the sender it speaks of, here or at another worker.

The kernel gives a report to the worker that hears the one who wrote it (agent/sources/receive_steering.py); whom it
speaks of may be heard by another.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

from livemos.agent.rtp.addresses import Transport
from livemos.agent.rtp.rtcp import RtcpError, RtcpReport, SenderReport, parse_compound
from livemos.agent.rtp.seal import SealError, Unsealer
from livemos.agent.sources.rtp_sender import Key, Sender

OFFERED_REPORTS = 1_024  # of other workers, until they are looked at; the oldest make place


class SenderReports:
    """`senders` and `counts` are the receiver's, and its thread alone calls this, `offer` apart.

    others: of the workers that share the port.
    """

    def __init__(
        self,
        senders: Mapping[Key, Sender],
        counts: Counter[str],
        *,
        unix: Callable[[], float],
        unsealer: Unsealer | None,
    ) -> None:
        self._senders, self._counts, self._unix, self._unsealer = senders, counts, unix, unsealer
        self._offered: deque[tuple[RtcpReport, Transport]] = deque(maxlen=OFFERED_REPORTS)
        self.others: Sequence[SenderReports] = ()

    def hear(self, datagram: memoryview | bytes, local: Transport) -> None:
        """One RTCP datagram to `local`."""
        self._counts["rtcp_packets"] += 1
        if self._unsealer is not None:
            try:
                datagram = self._unsealer.unseal_control(bytes(datagram), local)
            except SealError:
                self._counts["rtcp_undecryptable_packets"] += 1  # no number of it is believed
                return
        try:
            reports = parse_compound(datagram)
        except RtcpError:
            self._counts["invalid_rtcp_packets"] += 1
            return
        for report in reports:
            if not self._give(report, local):
                for other in self.others:
                    other.offer(report, local)

    def offer(self, report: RtcpReport, local: Transport) -> None:
        """A report that reached a worker which does not hear its sender; from any thread."""
        self._offered.append((report, local))

    def take_offered(self) -> None:
        """Look at what other workers offered."""
        while self._offered:
            self._give(*self._offered.popleft())

    def _give(self, report: RtcpReport, local: Transport) -> bool:
        """False where nobody is heard here whom it speaks of."""
        sender = self._senders.get((local, report.ssrc)) or self._sender_of(report.ssrc)
        if sender is None:
            return False
        if not sender.session.clock_rate_hz:
            return True
        if not isinstance(report, SenderReport):
            sender.session.hear_remote(report)
        else:
            sane = sender.wall.heard(report, sender.session.clock_rate_hz, self._unix())
            self._counts["sender_reports" if sane else "insane_sender_reports"] += 1
        return True

    def _sender_of(self, ssrc: int) -> Sender | None:
        """RTCP of its own port, or of the way back, names the stream by its SSRC alone; None where two share it."""
        found = [sender for (_, other), sender in self._senders.items() if other == ssrc]
        return found[0] if len(found) == 1 else None

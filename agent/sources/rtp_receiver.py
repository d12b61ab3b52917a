"""Datagrams and the time in, streams out: senders are proven, told apart, followed and capped. No socket, no clock.

A socket and a capture feed the same receiver, so what a replay shows is what the live path does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from livemos.agent.records import AudioBlock, EventKind
from livemos.agent.rtp.addresses import AddressPolicy, Transport, may_move
from livemos.agent.rtp.admission import Budget, Caps
from livemos.agent.rtp.ingest import PacketRun, Steady
from livemos.agent.rtp.packet import DatagramKind, InvalidPacketError, Packet, kind_of, parse, parse_header
from livemos.agent.rtp.payload_map import PayloadMap
from livemos.agent.rtp.playout import IDEAL
from livemos.agent.rtp.seal import SealError, Unsealer
from livemos.agent.rtp.session import RtpSession
from livemos.agent.rtp.wraparound import difference16
from livemos.agent.sources.base import StreamSink
from livemos.agent.sources.rtp_reports import SenderReports
from livemos.agent.sources.rtp_sender import Key, Sender, has_fallen_silent, predecessor_of
from livemos.agent.sources.rtp_stream import CUT, ENCRYPTED, RtpStream, Unreadable

PROOF_SECONDS = 2.0  # a sender without a second packet is forgotten after so long
COLLISION_PACKETS = 5  # intervals for which an established sender keeps its SSRC
_EVERYTHING_UNKNOWN = PayloadMap(static=False)


class RtpReceiver:
    """`hear` for each datagram, `tick` when `next_due_seconds` has come, `sweep` twenty times a second of that time.

    counts: names end in a unit; shared with the source, whose statistics they are.
    """

    def __init__(
        self,
        *,
        name: str,
        labels: Mapping[str, str],
        payload_map: PayloadMap,
        reorder_wait_seconds: float,
        concealment: str,
        idle_seconds: float,
        sink: StreamSink,
        counts: Counter[str],
        unix: Callable[[], float],
        caps: Caps | None = None,
        policy: AddressPolicy = AddressPolicy.FOLLOW,
        unsealer: Unsealer | None = None,
        wait_when_full: bool = False,
        profiles: Sequence[str] = (IDEAL,),
    ) -> None:
        self._profiles = profiles
        self._name, self._labels, self._map = name, labels, payload_map
        self._reorder_wait_seconds, self._concealment = reorder_wait_seconds, concealment
        self._idle_seconds, self._sink, self._counts = idle_seconds, sink, counts
        self._caps = caps or Caps()
        self._policy = policy
        self._unsealer = unsealer
        self._wait_when_full = wait_when_full
        self._senders: dict[Key, Sender] = {}
        self._unproven: dict[Key, Sender] = {}  # oldest first
        self._gapped: dict[Key, Sender] = {}  # those whose session waits for a moment
        self._ids: set[str] = set()
        self._learned: Transport | None = None
        self._new_ssrcs = Budget(self._caps.new_ssrcs_per_second)
        self._packets = Budget(self._caps.packets_per_second)
        self._octets = Budget(self._caps.bytes_per_second)
        self._reports = SenderReports(self._senders, counts, unix=unix, unsealer=unsealer)

    def share_reports(self, receivers: Sequence[RtpReceiver]) -> None:
        """Of `receivers`, this one among them, whichever hears a sender is given what RTCP says of it."""
        self._reports.others = [each._reports for each in receivers if each is not self]

    @property
    def senders(self) -> int:
        """Senders kept, proven or not."""
        return len(self._senders)

    def hear(
        self, datagram: memoryview | bytes, peer: Transport, local: Transport, now: float, *, cut: bool = False
    ) -> None:
        """One datagram from `peer` to `local`; `now` never goes back. cut: the capture did not keep all of it."""
        size = len(datagram)
        if size > self._caps.datagram_bytes:
            self._counts["cap_datagram_packets"] += 1
            return
        if not (self._packets.take(1, now) and self._octets.take(size, now)):
            self._counts["cap_rate_packets"] += 1
            return
        kind = kind_of(datagram)
        if kind is DatagramKind.RTCP:
            self._reports.hear(datagram, local)
            return
        if kind is not DatagramKind.RTP:
            self._counts[f"{kind.value}_packets"] += 1
            return
        try:
            header_alone = cut or self._unsealer is not None
            packet = parse_header(datagram, cut=cut) if header_alone else parse(datagram)
            self._place(packet, datagram, peer, local, now, cut=cut)
        except InvalidPacketError as invalid:
            self._counts[f"invalid_{invalid.reason.value}_packets"] += 1

    def tick(self, now: float) -> None:
        """Give up gaps whose wait has ended, and take what reached another worker."""
        self._reports.take_offered()
        for key, sender in list(self._gapped.items()):
            due = sender.session.next_due_seconds
            if due is not None and due <= now:
                self._pass_on(sender, sender.session.tick(now), now, packet=False)
                due = sender.session.next_due_seconds
            if due is None:
                self._gapped.pop(key, None)

    @property
    def next_due_seconds(self) -> float | None:
        """When `tick` has something to do."""
        due = [sender.session.next_due_seconds for sender in self._gapped.values()]
        return min((each for each in due if each is not None), default=None)

    def sweep(self, now: float) -> None:
        """Notice silence, forget what was never proven, end what is idle."""
        for key, sender in list(self._unproven.items()):
            if now - sender.last_seconds >= PROOF_SECONDS:
                self._forget_unproven(key)
        for key, sender in list(self._senders.items()):
            if sender.laned:
                continue
            if sender.stream is None:
                if sender.session.established:
                    self._settle(sender, key[0], now)
                continue
            sender.stream.watch(now)
            if now - sender.last_seconds >= self._idle_seconds:
                self._end(key, sender, f"no packets for {self._idle_seconds:g} s")

    def close(self, detail: str) -> None:
        """End all streams; what waits is played."""
        for key, sender in list(self._senders.items()):
            if sender.stream is None and sender.session.established:
                self._open_own(sender, sender.last_seconds)
            self._end(key, sender, detail)
        for key in list(self._unproven):
            self._forget_unproven(key)

    def capture_lost(self, packets: int) -> None:
        """This machine dropped `packets` before they were read: every stream is told that loss is not the network's."""
        self._counts["capture_lost_packets"] += packets
        for sender in self._senders.values():
            if sender.stream is not None:
                detail = f"this machine dropped {packets} packets of the port; give it a larger buffer or fewer streams"
                sender.stream.event(EventKind.CAPTURE_LOSS, detail)

    @property
    def has_unsettled(self) -> bool:
        """A proven sender waits to know whose stream it is: that depends on the silence of the others."""
        return any(sender.stream is None and sender.session.established for sender in self._senders.values())

    def is_newcomer(self, datagram: memoryview | bytes, local: Transport, seen: set[int]) -> bool:
        """Whether this packet may prove a sender whose stream then depends on others; `seen`: SSRCs unknown so far.

        The first packet of an SSRC proves nothing yet.
        """
        if len(datagram) < 12 or kind_of(datagram) is not DatagramKind.RTP:
            return False
        ssrc = int.from_bytes(datagram[8:12])
        sender = self._senders.get((local, ssrc))
        if sender is not None:
            return sender.stream is None
        before = ssrc in seen
        seen.add(ssrc)
        return before

    def has_room(self, packets: int, octets: int, now: float) -> bool:
        """Whether the port's caps let all of this through; `now` lies in the second of each of them."""
        return packets <= self._packets.left(now) and octets <= self._octets.left(now)

    def count_run(self, packets: int, octets: int, now: float) -> None:
        """As `hear` counts datagrams against the port's caps, which have room."""
        self._packets.take(packets, now)
        self._octets.take(octets, now)

    def steady(self, local: Transport, ssrc: int, peer: Transport) -> Steady | None:
        """The next packet of `peer`'s stream, when nothing but its continuation is expected; else None."""
        sender = self._senders.get((local, ssrc))
        if sender is None or sender.stream is None or sender.peer != peer or self._unsealer is not None:
            return None
        return sender.session.steady() if sender.stream.undisturbed else None

    def set_laned(self, local: Transport, ssrc: int, laned: bool) -> None:
        """While laned, the sender's silence is watched by who holds its lane."""
        self._senders[local, ssrc].laned = laned

    def wanted_samples(self, local: Transport, ssrc: int) -> float:
        """How many more samples at 16 kHz until the stream has something to do with them."""
        stream = self._senders[local, ssrc].stream
        return stream.wanted_samples() if stream is not None else 0.0

    def last_seconds(self, local: Transport, ssrc: int) -> float:
        """When the sender was last heard; what the caps shed was not."""
        return self._senders[local, ssrc].last_seconds

    def packets_left(self, local: Transport, ssrc: int, size: int, now: float) -> tuple[int, int]:
        """How many datagrams of `size` the sender's caps let through in this second, and in any."""
        caps = self._caps
        ever = min(caps.source_packets_per_second, caps.source_bytes_per_second // size)
        return self._senders[local, ssrc].packets_left(size, now), ever

    def hear_run(self, local: Transport, ssrc: int, run: PacketRun) -> None:
        """Packets of a `steady` sender that the caps of port and sender let through, already counted by `count_run`."""
        sender = self._senders[local, ssrc]
        assert sender.stream is not None
        sender.stream.hear(sender.push_run(run), run.arrivals[-1])
        sender.stream.report_if_due(run.arrivals[-1])

    def _push(self, sender: Sender, packet: Packet, size: int, now: float, local: Transport | None) -> None:
        if not (sender.packets.take(1, now) and sender.octets.take(size, now)):
            self._counts["cap_source_rate_packets"] += 1
            return
        sender.last_seconds = now
        self._pass_on(sender, sender.session.push(packet, now), now, local=local)

    def _place(
        self, packet: Packet, datagram: memoryview | bytes, peer: Transport, local: Transport, now: float, *, cut: bool
    ) -> None:
        key = local, packet.ssrc
        sender = self._senders.get(key)
        if self._learned is not None and peer != self._learned and (sender is None or sender.peer != self._learned):
            self._counts["source_rejected_packets"] += 1
            return
        if sender is None and not self._admit(now):
            return
        unreadable = CUT if cut else None
        if self._unsealer is not None and not cut:
            packet, unreadable = self._unseal(self._unsealer, packet, bytes(datagram), local, unknown=sender is None)
        # only now anything is done to a sender: what does not open could be anyone's
        if sender is not None:
            if unreadable is None and sender.unreadable is ENCRYPTED:
                self._end(key, sender, "its packets can be read now")
                sender = None
            elif unreadable is ENCRYPTED and sender.unreadable is None:
                return  # a forger beside an authenticated sender
            elif peer != sender.peer and not self._moves(sender, packet, peer, now, unreadable=unreadable):
                return
            elif unreadable is CUT and sender.unreadable is None:
                self._cut_off(key, sender)
        if sender is None:
            sender = self._new_sender(key, peer, now, unreadable=unreadable)
        self._push(sender, packet, len(datagram), now, local)
        if sender.session.next_due_seconds is not None:
            self._gapped[key] = sender

    def _unseal(
        self, unsealer: Unsealer, packet: Packet, datagram: bytes, local: Transport, *, unknown: bool
    ) -> tuple[Packet, Unreadable | None]:
        """The packet opened, or as it was and why it cannot be read. Raises InvalidPacketError."""
        try:
            return parse(unsealer.unseal(datagram, packet.ssrc, local)), None
        except SealError:
            self._counts["srtp_auth_failed_packets"] += 1
            return packet, ENCRYPTED
        except InvalidPacketError:
            if unknown:
                unsealer.forget(packet.ssrc, local)
            raise

    def _admit(self, now: float) -> bool:
        """Room for another SSRC; the oldest without proof makes place."""
        if not self._new_ssrcs.take(1, now):
            self._counts["cap_new_ssrc_packets"] += 1
            return False
        if len(self._senders) >= self._caps.sources:
            if not self._unproven:
                self._counts["cap_sources_packets"] += 1
                return False
            self._forget_unproven(next(iter(self._unproven)))
        return True

    def _new_sender(self, key: Key, peer: Transport, now: float, *, unreadable: Unreadable | None) -> Sender:
        sender = Sender(
            ssrc=key[1],
            peer=peer,
            session=self._new_session(unreadable),
            first_seconds=now,
            last_seconds=now,
            packets=Budget(self._caps.source_packets_per_second),
            octets=Budget(self._caps.source_bytes_per_second),
            unreadable=unreadable,
        )
        self._senders[key] = self._unproven[key] = sender
        return sender

    def _new_session(self, unreadable: Unreadable | None) -> RtpSession:
        return RtpSession(
            payload_map=_EVERYTHING_UNKNOWN if unreadable else self._map,
            reorder_wait_seconds=self._reorder_wait_seconds,
            concealment=self._concealment,
            profiles=self._profiles,
        )

    def _cut_off(self, key: Key, sender: Sender) -> None:
        """From its first cut packet on a sender is only counted: what the rest of a payload decodes to was not said."""
        sender.session, sender.unreadable = self._new_session(CUT), CUT
        if sender.stream is not None:
            sender.stream.become_unreadable(sender.session, CUT)
        else:
            self._unproven[key] = sender

    def _moves(
        self, sender: Sender, packet: Packet, peer: Transport, now: float, *, unreadable: Unreadable | None
    ) -> bool:
        """A known SSRC from another address: a collision while the first speaks, else what the policy says."""
        silent_seconds = now - sender.last_seconds
        if silent_seconds <= COLLISION_PACKETS * sender.interval_seconds or not sender.session.established:
            self._counts["ssrc_collision_packets"] += 1
            if not sender.collided and sender.stream is not None:
                sender.collided = True
                sender.stream.event(EventKind.SSRC_COLLISION, f"{peer} uses the SSRC of {sender.peer}; not heard")
            return False
        step = difference16(packet.sequence_number, sender.session.newest_number)
        unproven = self._unsealer is not None and unreadable is not None
        if unproven or not may_move(self._policy, silent_seconds=silent_seconds, number_step=step):
            self._counts["source_rejected_packets"] += 1
            return False
        if sender.stream is not None:
            sender.stream.event(EventKind.SOURCE_MOVED, f"from {sender.peer} to {peer}")
        sender.peer, sender.collided = peer, False
        return True

    def _pass_on(
        self,
        sender: Sender,
        blocks: list[AudioBlock],
        now: float,
        *,
        local: Transport | None = None,
        packet: bool = True,
    ) -> None:
        if sender.stream is not None:
            if packet:
                sender.stream.hear(blocks, now)
            elif blocks:
                sender.stream.pass_on(blocks, now)
            return
        sender.held += blocks
        if sender.session.established and local is not None:
            self._unproven.pop((local, sender.ssrc), None)
            if self._policy is AddressPolicy.LEARN_ONCE and self._learned is None and sender.unreadable is None:
                self._learned = sender.peer
            self._settle(sender, local, now)

    def _settle(self, sender: Sender, local: Transport, now: float) -> None:
        """A proven sender is a stream of its own, or the next generation of one that went silent when it began."""
        rivals = [
            other
            for (at, _), other in self._senders.items()
            if other.stream is not None
            and at == local
            and other.peer == sender.peer
            and other.unreadable is sender.unreadable
        ]
        predecessor = predecessor_of(sender, rivals)
        if predecessor is None:
            self._open_own(sender, now)
        elif has_fallen_silent(predecessor, now):
            self._succeed(sender, predecessor, local, now)

    def _succeed(self, sender: Sender, predecessor: Sender, local: Transport, now: float) -> None:
        stream = predecessor.stream
        assert stream is not None
        if (due := predecessor.session.next_due_seconds) is not None:
            stream.pass_on(predecessor.session.tick(due), now)
        del self._senders[local, predecessor.ssrc]
        self._gapped.pop((local, predecessor.ssrc), None)
        self._forget_seal(predecessor, local)
        stream.adopt(sender.session, f"SSRC {predecessor.ssrc:08x} went on as {sender.ssrc:08x}")
        sender.stream = stream
        self._play_held(sender, now)

    def _open_own(self, sender: Sender, now: float) -> None:
        source_id = stem = f"{self._name}/{sender.ssrc:08x}"
        number = 1
        while source_id in self._ids:
            number += 1
            source_id = f"{stem}-{number}"
        self._ids.add(source_id)
        sender.stream = RtpStream(
            source_id=source_id,
            detail=str(sender.peer),
            labels=self._labels,
            session=sender.session,
            sink=self._sink,
            counts=self._counts,
            unreadable=sender.unreadable,
            wait_when_full=self._wait_when_full,
        )
        self._play_held(sender, now)

    @staticmethod
    def _play_held(sender: Sender, now: float) -> None:
        assert sender.stream is not None
        held, sender.held = sender.held, []
        sender.stream.hear(held, now)

    def _forget_unproven(self, key: Key) -> None:
        sender = self._unproven.pop(key)
        self._senders.pop(key, None)
        self._gapped.pop(key, None)
        self._forget_seal(sender, key[0])
        self._counts["probation_dropped_packets"] += sender.session.probation_packets

    def _forget_seal(self, sender: Sender, local: Transport) -> None:
        if self._unsealer is not None and sender.unreadable is None:  # one that cannot be read has none
            self._unsealer.forget(sender.ssrc, local)

    def _end(self, key: Key, sender: Sender, detail: str) -> None:
        if sender.stream is not None:
            sender.stream.close(detail)
            self._ids.discard(sender.stream.description.source_id)
            self._forget_seal(sender, key[0])
        self._senders.pop(key, None)
        self._gapped.pop(key, None)
        if sender.stream is None and self._unproven.get(key) is sender:
            self._forget_unproven(key)

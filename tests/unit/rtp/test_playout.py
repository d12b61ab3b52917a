"""Listener profiles in milliseconds: what a telephone with such a buffer would play, discard and make up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from rtp_traffic import Port

from livemos.agent.records import AudioBlock, EventKind
from livemos.agent.rtp.packet import Packet
from livemos.agent.rtp.payload_map import PayloadMap
from livemos.agent.rtp.session import RtpSession

PacketMaker = Callable[..., Packet]


class Heard:
    """One profile's session and its blocks; packets given as (number, arrival in seconds)."""

    def __init__(self, profile: str, pcmu: PacketMaker, arrivals: Sequence[tuple[int, float]]) -> None:
        self.session = RtpSession(payload_map=PayloadMap(), profiles=(profile,))
        self.blocks: list[AudioBlock] = []
        for number, arrival in sorted(arrivals, key=lambda pair: pair[1]):
            self.blocks += self.session.push(pcmu(number), arrival)
        self.blocks += self.session.tick(1e9)
        self.late = self.session.statistics().late_packets
        playout = self.session._first.playout
        self.resyncs = playout.resyncs if playout is not None else 0
        self.insertions = playout.insertions if playout is not None else 0
        self.slips = playout.slips if playout is not None else 0

    def seconds(self, *, concealed: bool | None = None) -> float:
        chosen = [block for block in self.blocks if concealed in (None, block.concealed)]
        return round(sum(len(block.samples) / block.sample_rate_hz for block in chosen), 6)


def steady(count: int, jitter: Callable[[int], float] = lambda number: 0.0) -> list[tuple[int, float]]:
    return [(number, 1.0 + 0.02 * number + jitter(number)) for number in range(count)]


def test_a_fixed_buffer_plays_each_packet_at_its_instant(pcmu: PacketMaker) -> None:
    """The age of a score counts from when a telephone would have played it: 50 ms after the first packet came."""
    heard = Heard("fixed50", pcmu, steady(50))
    assert heard.seconds() == 1.0
    ready = [block.ready_monotonic_seconds for block in heard.blocks]
    assert ready == pytest.approx([1.0 + 0.05 + 0.02 * number for number in range(50)])
    assert heard.session.statistics().playout_delay_seconds == 0.05


def test_jitter_inside_the_delay_is_not_heard(pcmu: PacketMaker) -> None:
    """Uniform 30 ms: a 50 ms buffer discards nothing, and the audio has no seam."""
    rng = np.random.default_rng(3)
    heard = Heard("fixed50", pcmu, steady(500, lambda _: float(rng.uniform(0, 0.03))))
    assert (heard.late, heard.resyncs, heard.seconds(concealed=True)) == (0, 0, 0)
    assert heard.seconds() == 10.0


def test_a_spike_of_120_ms_costs_what_queues_behind_it(pcmu: PacketMaker) -> None:
    """Packets 100 to 103 come 120, 100, 80 and 60 ms late: too late for 50 ms, in time for 200 ms."""
    spike = steady(300, lambda number: max(0.0, 0.12 - 0.02 * (number - 100)) if number >= 100 else 0.0)
    short = Heard("fixed50", pcmu, spike)
    assert (short.late, short.resyncs) == (4, 0)
    assert (short.seconds(), short.seconds(concealed=True)) == (6.0, 0.08)
    long = Heard("fixed200", pcmu, spike)
    assert (long.late, long.seconds(concealed=True)) == (0, 0)
    assert long.session.statistics().lost_packets == 0
    network = short.session.statistics().network_mos, long.session.statistics().network_mos
    assert network[0] is not None and network[1] is not None and network[0] < network[1]


def test_a_route_that_becomes_80_ms_longer_is_one_resync_of_a_fixed_buffer(pcmu: PacketMaker) -> None:
    """After 0.2 s of late packets the buffer takes the new delay: 80 ms are made up, and then all is heard again."""
    step = steady(500, lambda number: 0.08 if number >= 100 else 0.0)
    heard = Heard("fixed50", pcmu, step)
    assert (heard.resyncs, heard.late) == (1, 10)
    assert heard.seconds() == pytest.approx(10.0 + 0.08)
    assert heard.seconds(concealed=True) == pytest.approx(10 * 0.02 + 0.08)


def test_an_adaptive_buffer_grows_a_packet_at_a_time_and_shrinks_when_it_is_calm(pcmu: PacketMaker) -> None:
    """The same route costs an adaptive buffer two packets of made-up audio; when the route is short again, it slips."""
    longer = steady(1_200, lambda number: 0.08 if number >= 600 else 0.0)
    heard = Heard("adaptive500", pcmu, longer)
    assert heard.resyncs == 0
    assert heard.insertions >= 2
    assert 1 <= heard.late <= 6
    assert heard.seconds() == pytest.approx(24.0 + 0.02 * heard.insertions)
    back = steady(2_000, lambda number: 0.08 if 100 <= number < 400 else 0.0)
    slipped = Heard("adaptive500", pcmu, back)
    assert slipped.slips >= 2
    assert slipped.seconds() == pytest.approx(40.0 + 0.02 * (slipped.insertions - slipped.slips))
    delay = slipped.session.statistics().playout_delay_seconds
    assert delay is not None and delay == pytest.approx(0.06, abs=0.021)


def test_an_adaptive_buffer_waits_as_long_as_the_jitter_asks(pcmu: PacketMaker) -> None:
    """Uniform 100 ms: after it has learnt the spread, hardly a packet is late, and the delay is told."""
    rng = np.random.default_rng(5)
    heard = Heard("adaptive500", pcmu, steady(1_500, lambda _: float(rng.uniform(0, 0.1))))
    assert heard.late is not None and heard.late <= 15
    delay = heard.session.statistics().playout_delay_seconds
    assert delay is not None and 0.12 <= delay <= 0.2


def test_a_stream_at_a_quarter_of_its_rate_is_gaps_to_a_telephone(pcmu: PacketMaker) -> None:
    """13 packets a second fill a quarter of the time: the rest is made up, and the event comes for every profile."""
    slow = [(number, 1.0 + number / 13) for number in range(130)]
    for profile in ("ideal", "fixed50"):
        heard = Heard(profile, pcmu, slow)
        assert "media_rate_low" in [event.kind.value for event in heard.session.take_events()]
        assert heard.seconds() == pytest.approx(2.6 if profile == "ideal" else 10.0, abs=0.15)


def test_a_talk_spurt_begins_with_the_delay_anew_and_unheard(pcmu: PacketMaker) -> None:
    """A marker behind a pause: the pause becomes 30 ms longer, not the speech."""
    session = RtpSession(payload_map=PayloadMap(), profiles=("fixed50",))
    blocks: list[AudioBlock] = []
    for number in range(50):
        blocks += session.push(pcmu(number), 0.02 * number)
    for number in range(50, 100):  # 1 s of pause, then 30 ms later than before
        packet = pcmu(number, 160 * number + 8_000, marker=number == 50)
        blocks += session.push(packet, 0.02 * number + 1.0 + 0.03)
    blocks += session.tick(1e9)
    assert sum(len(block.samples) for block in blocks) / 8_000 == pytest.approx(3.03)
    assert not any(block.concealed for block in blocks)
    assert session.statistics().late_packets == 0


def test_the_senders_drift_does_not_empty_a_fixed_buffer(pcmu: PacketMaker) -> None:
    """A sender 200 ppm slow would be 60 ms late after five minutes: the drift is taken out of the schedule."""
    packets = [(number, 0.02 * number * (1 + 200e-6)) for number in range(20_000)]
    heard = Heard("fixed50", pcmu, packets)
    assert (heard.late, heard.resyncs) == (0, 0)


def test_a_route_that_changes_is_not_taken_for_drift(pcmu: PacketMaker) -> None:
    """80 ms more after 30 s look like hundreds of ppm for minutes: believed, they would move the buffer away again."""
    heard = Heard("fixed50", pcmu, steady(9_000, lambda number: 0.08 if number >= 1_500 else 0.0))
    assert (heard.resyncs, heard.late) == (1, 10)
    assert heard.seconds() == pytest.approx(180.0 + 0.08)
    ready = heard.blocks[-1].ready_monotonic_seconds
    assert ready == pytest.approx(1.0 + 0.02 * 8_999 + 0.08 + 0.05, abs=0.002)


@pytest.mark.parametrize(("profile", "delay"), [("fixed50", 0.05), ("fixed200", 0.2), ("adaptive500", 0.04)])
def test_a_restart_of_the_sequence_leaves_what_waits_its_instant(pcmu: PacketMaker, profile: str, delay: float) -> None:
    """Before and behind it each packet is heard when it is due: a new schedule is no reason to fall silent."""
    session = RtpSession(payload_map=PayloadMap(), profiles=(profile,))
    blocks: list[AudioBlock] = []
    for number in range(600):
        arrival = 5_000.0 + 0.02 * number
        blocks += session.push(pcmu(number + (0 if number < 300 else 30_000)), arrival)
    blocks += session.tick(1e9)
    heard = [block.ready_monotonic_seconds for block in blocks if not block.concealed]
    held = [ready - (5_000.0 + 0.02 * number) for number, ready in enumerate(heard)]
    assert len(held) == 600
    assert (
        delay - 1e-6 <= min(held) and max(held) <= delay + 0.04 + 1e-6
    )  # an adaptive buffer grows, by 20 ms each time


def test_a_restart_behind_a_longer_route_moves_no_packet(pcmu: PacketMaker) -> None:
    """The buffer has taken 80 ms more; packets from before the restart keep them, those behind it begin with them."""
    session = RtpSession(payload_map=PayloadMap(), profiles=("fixed50",))
    blocks: list[AudioBlock] = []
    for number in range(400):
        sent = pcmu(number + (0 if number < 300 else 30_000))
        blocks += session.push(sent, 1.0 + 0.02 * number + (0.08 if number >= 100 else 0.0))
    blocks += session.tick(1e9)
    assert session._first.playout is not None and session._first.playout.resyncs == 1
    ready = [block.ready_monotonic_seconds for block in blocks[-150:]]
    assert ready == pytest.approx([1.0 + 0.02 * number + 0.08 + 0.05 for number in range(250, 400)])


@pytest.mark.parametrize("profile", ["fixed50", "fixed200", "adaptive500"])
@pytest.mark.parametrize("payload_type", [13, 101])
def test_a_stream_may_begin_with_what_is_no_audio(pcmu: PacketMaker, profile: str, payload_type: int) -> None:
    """Comfort noise or a key press before the first word must not hold back the words until the agent is as old."""
    session = RtpSession(payload_map=PayloadMap({101: "telephone-event/8000"}), profiles=(profile,))
    blocks = session.push(pcmu(0, 0, payload_type=payload_type, payload=b"\x05\x0a\x00\xa0"), 5_000.0)
    for number in range(1, 100):
        blocks += session.push(pcmu(number), 5_000.0 + 0.02 * number)
    longest = {"fixed50": 0.05, "fixed200": 0.2, "adaptive500": 0.06}[profile]
    heard = [block.ready_monotonic_seconds for block in blocks if not block.concealed]
    held = [ready - (5_000.0 + 0.02 * number) for number, ready in enumerate(heard, start=1)]
    assert len(held) >= 98 - longest / 0.02
    assert longest - 0.02 - 1e-6 <= min(held) and max(held) <= longest + 1e-6


@pytest.mark.parametrize("profile", ["fixed50", "adaptive500"])
def test_packets_that_overtake_bring_no_media_twice(pcmu: PacketMaker, profile: str) -> None:
    """Every fifth pair swapped: nothing is lost or late, so neither a rate alarm nor a withheld network MOS."""
    order = list(range(500))
    for number in range(10, 490, 5):
        order[number], order[number + 1] = order[number + 1], order[number]
    heard = Heard(profile, pcmu, [(number, 1.0 + 0.02 * place) for place, number in enumerate(order)])
    assert heard.session.take_events() == []
    assert heard.late == 0
    assert heard.session.statistics().network_mos == pytest.approx(4.41, abs=0.01)


def test_every_profile_of_a_session_hears_the_same_packets(pcmu: PacketMaker) -> None:
    """One call, several telephones: counts of the network are shared, what came too late is each listener's own."""
    session = RtpSession(payload_map=PayloadMap(), profiles=("ideal", "fixed50", "fixed200"))
    heard: dict[str, list[AudioBlock]] = {name: [] for name in session.profiles}
    spike = steady(300, lambda number: 0.15 if number == 100 else 0.0)
    for number, arrival in sorted(spike, key=lambda pair: pair[1]):
        heard["ideal"] += session.push(pcmu(number), arrival)
    heard["ideal"] += session.tick(1e9)
    for index in (1, 2):
        heard[session.profiles[index]] += session.take_blocks(index)
    late = [session.statistics(index).late_packets for index in range(3)]
    assert late == [1, 1, 0]  # the ideal listener waits 60 ms behind a gap
    assert {session.statistics(index).received_packets for index in range(3)} == {300}
    seconds = {name: sum(len(block.samples) for block in blocks) / 8_000 for name, blocks in heard.items()}
    assert seconds == {"ideal": 6.0, "fixed50": 6.0, "fixed200": 6.0}


def test_a_buffer_is_played_to_its_end_when_nothing_comes_any_more(pcmu: PacketMaker) -> None:
    """The last 200 ms of a call that stalls are heard, and not kept for a packet that may never come."""
    port = Port(profiles=("ideal", "fixed200"))
    port.send(*(pcmu(number) for number in range(100)))
    port.wait(0.5)
    first, second = port.streams
    assert (first.source_id, second.source_id) == ("desk/00001234", "desk/00001234@fixed200")
    assert (first.seconds, second.seconds) == (pytest.approx(2.0), pytest.approx(2.0))
    assert second.blocks[-1].ready_monotonic_seconds == pytest.approx(99 * 0.02 + 0.2)
    assert (EventKind.MEDIA_STALLED in dict(first.events), EventKind.MEDIA_STALLED in dict(second.events)) == (
        True,
        True,
    )


def test_a_profile_that_does_not_exist_is_refused_by_name() -> None:
    """A typing error must not become a perfect listener."""
    with pytest.raises(ValueError, match='"fixed60"; choose one of ideal, fixed50'):
        RtpSession(payload_map=PayloadMap(), profiles=("fixed60",))

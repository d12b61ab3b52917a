"""The fast way gives what the exact way gives, in every bit, whatever the traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from receive_ways import Datagram, Way, assert_equal, play
from rtp_traffic import pcmu

from livemos.agent.records import EventKind
from livemos.agent.rtp.admission import Caps
from livemos.agent.rtp.ingest import PacketRun
from livemos.agent.rtp.packet import build
from livemos.agent.rtp.payload_map import PayloadMap
from livemos.agent.rtp.session import RtpSession

Traffic = Callable[[np.random.Generator], Iterator[Datagram]]


def call(
    rng: np.random.Generator,
    ssrc: int,
    *,
    packets: int = 150,
    first: int = 0,
    first_timestamp: int = 0,
    begin: float = 0.0,
    payload_type: int = 0,
    ticks: int = 160,
    jitter_seconds: float = 0.002,
    peer: tuple[str, int] = ("192.0.2.1", 5_000),
) -> list[Datagram]:
    """A call of 20 ms packets of noise, each a little late."""
    late = rng.exponential(jitter_seconds, packets)
    return [
        Datagram(
            begin + 0.02 * n + late[n],
            build(
                pcmu(
                    first + n,
                    first_timestamp + ticks * n,
                    ssrc=ssrc,
                    payload_type=payload_type,
                    payload=rng.integers(0, 256, ticks, np.uint8).tobytes(),
                )
            ),
            peer,
        )
        for n in range(packets)
    ]


def clean(rng: np.random.Generator) -> Iterator[Datagram]:
    for index in range(5):
        yield from call(rng, 0x100 + index, begin=0.003 * index)


def wraps(rng: np.random.Generator) -> Iterator[Datagram]:
    yield from call(rng, 1, first=65_500, first_timestamp=2**32 - 160 * 40)
    yield from call(rng, 2, first=65_535, first_timestamp=2**32 - 160)


def losses(rng: np.random.Generator) -> Iterator[Datagram]:
    for index in range(4):
        kept = rng.random(150) > 0.05 * (index + 1)
        yield from (
            each for each, keep in zip(call(rng, index, peer=("192.0.2.9", index + 1)), kept, strict=True) if keep
        )


def reordering_and_duplicates(rng: np.random.Generator) -> Iterator[Datagram]:
    for index in range(4):
        for each in call(rng, index):
            fate = rng.random()
            yield Datagram(each.seconds + (0.05 if fate < 0.05 else 0.0), each.octets, each.peer)
            if fate > 0.95:
                yield Datagram(each.seconds + 0.004, each.octets, each.peer)


def new_ssrc(rng: np.random.Generator) -> Iterator[Datagram]:
    yield from call(rng, 1, packets=77)
    yield from call(rng, 2, packets=80, begin=77 * 0.02 + 0.1, first=9_000)
    yield from call(rng, 3, packets=150, peer=("192.0.2.2", 6_000))


def trunk_that_goes_on(rng: np.random.Generator) -> Iterator[Datagram]:
    for index in range(4):
        yield from call(rng, index, packets=60, first=1_000 * index)
        yield from call(rng, 50 + index, packets=60, first=1_000 * index + 61, begin=60 * 0.02 + 0.03 * index)


def another_address(rng: np.random.Generator) -> Iterator[Datagram]:
    both = call(rng, 1, packets=200)
    yield from both[:70]
    yield from (Datagram(each.seconds + 1.2, each.octets, ("198.51.100.7", 40_000)) for each in both[70:])
    yield from call(rng, 2, packets=120)
    yield from call(rng, 2, packets=50, begin=0.7, first=5_000, peer=("203.0.113.5", 9))  # a collision


def pauses_and_jumps(rng: np.random.Generator) -> Iterator[Datagram]:
    yield from call(rng, 1, packets=60)
    yield from call(rng, 1, packets=60, first=60, first_timestamp=160 * 160, begin=3.2)  # silence suppression
    yield from call(rng, 2, packets=60)
    yield from call(rng, 2, packets=60, first=60, first_timestamp=160 * 4_000, begin=1.2)  # a jump
    yield from call(rng, 3, packets=60)
    yield from call(rng, 3, packets=60, first=40_000, first_timestamp=77, begin=1.2)  # a restart


def other_payloads(rng: np.random.Generator) -> Iterator[Datagram]:
    for each in call(rng, 1):
        yield each
        if rng.random() < 0.05:
            yield Datagram(each.seconds, each.octets[:12] + b"\x05\x0a\x00\xa0" if rng.random() < 0.5 else b"")
    yield from call(rng, 2, packets=50)
    yield from call(rng, 2, packets=50, first=50, first_timestamp=50 * 160, begin=1.0, payload_type=8)
    yield from call(rng, 2, packets=30, first=100, first_timestamp=100 * 160, begin=2.0, payload_type=77)
    yield from call(rng, 3, packets=70, payload_type=9)
    yield from call(rng, 4, packets=60, ticks=80)  # half the media that its time asks for
    yield from call(rng, 5, packets=60)
    yield from call(rng, 5, packets=60, first=60, first_timestamp=60 * 160, begin=1.2, ticks=240)  # another length


def odd_headers(rng: np.random.Generator) -> Iterator[Datagram]:
    for each in call(rng, 1):
        octets = bytearray(each.octets)
        fate = rng.random()
        if fate < 0.03:
            octets[1] |= 0x80  # marker
        elif fate < 0.06:
            octets[0] |= 0x20  # padding
            octets[-1] = 4
        elif fate < 0.09:
            octets = octets[:12] + b"\xbe\xde\x00\x01\x10\x00\x00\x00" + octets[12:]
            octets[0] |= 0x10  # extension
        elif fate < 0.12:
            octets[0] ^= 0x40  # version
        yield Datagram(each.seconds, bytes(octets), each.peer)
    report = bytes([0x80, 201, 0, 1]) + (1).to_bytes(4)
    yield from (Datagram(0.3 * n, report) for n in range(10))
    yield from (Datagram(0.1 * n, rng.bytes(int(rng.integers(0, 300)))) for n in range(30))


def stalls(rng: np.random.Generator) -> Iterator[Datagram]:
    for gap in (0.15, 0.21, 0.5, 2.5):
        yield from call(rng, round(100 * gap), packets=40)
        yield from call(rng, round(100 * gap), packets=60, first=40, first_timestamp=6_400, begin=40 * 0.02 + gap)


def bursts(rng: np.random.Generator) -> Iterator[Datagram]:
    for index in range(3):
        for each in call(rng, index, jitter_seconds=0.0):
            yield Datagram(np.ceil(each.seconds / 0.26) * 0.26, each.octets, each.peer)


def bursts_of_one_address(rng: np.random.Generator) -> Iterator[Datagram]:
    """Two calls that wake in turns, and a third that goes on where the first one ended."""
    for ssrc, begin, phase in ((1, 0.0, 0.0), (2, 0.1, 0.11), (3, 3.12, 0.0)):
        for each in call(rng, ssrc, begin=begin, first=20_000 * ssrc, jitter_seconds=0.0):
            yield Datagram(np.ceil((each.seconds - phase) / 0.26) * 0.26 + phase, each.octets, each.peer)


def forged(rng: np.random.Generator) -> Iterator[Datagram]:
    """Somebody else sends what the stream's next packet looks like, before its sender does."""
    for each in call(rng, 1, jitter_seconds=0.0):
        yield each
        if each.seconds > 0.5:
            other = each.octets[:12] + rng.bytes(160)
            yield Datagram(each.seconds - 0.0101, other, ("203.0.113.6", 40_000))


def goes_on_from_elsewhere(rng: np.random.Generator) -> Iterator[Datagram]:
    real = call(rng, 1, packets=150, jitter_seconds=0.0)
    foreign = call(rng, 1, packets=151, jitter_seconds=0.0, peer=("203.0.113.66", 666))
    for n, each in enumerate(real):
        yield each
        if 40 <= n < 80:  # what the stream expects next, again and again, before its sender says it
            yield from (
                Datagram(each.seconds + 0.004 * k, foreign[n + 1].octets, foreign[n + 1].peer) for k in (1, 2, 3)
            )


def half_the_media(rng: np.random.Generator) -> Iterator[Datagram]:
    yield from call(rng, 1, packets=220, ticks=80)


TRAFFIC: dict[str, Traffic] = {
    each.__name__: each
    for each in (
        clean,
        wraps,
        losses,
        reordering_and_duplicates,
        new_ssrc,
        trunk_that_goes_on,
        another_address,
        pauses_and_jumps,
        other_payloads,
        odd_headers,
        stalls,
        bursts,
        bursts_of_one_address,
        forged,
        goes_on_from_elsewhere,
        half_the_media,
    )
}


@pytest.mark.parametrize("name", TRAFFIC)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_fast_way_gives_what_the_exact_way_gives(name: str, seed: int) -> None:
    """Speed that changes a sample, a time or a count would make a score depend on the load of the machine."""
    datagrams = list(TRAFFIC[name](np.random.default_rng(seed)))
    exact, fast = (Way(fast=each, payload_types={101: "telephone-event/8000"}) for each in (False, True))
    play(datagrams, exact, fast)
    assert_equal(exact, fast)
    assert exact.sink.streams and fast.fastest > 0


@pytest.mark.parametrize("concealment", ["pitch", "repeat", "zero"])
def test_a_gap_behind_a_run_is_concealed_from_the_same_history(concealment: str) -> None:
    """The concealer repeats what was heard last; after a run it must remember the last packet, not the whole run."""
    datagrams = list(losses(np.random.default_rng(3)))
    exact, fast = (Way(fast=each, settings={"concealment": concealment}) for each in (False, True))
    play(datagrams, exact, fast)
    assert_equal(exact, fast)


def test_everything_at_once_gives_the_same_both_ways() -> None:
    """Streams share batches, addresses and the port's caps: none may feel the others."""
    rng = np.random.default_rng(5)
    datagrams = []
    for index, traffic in enumerate(TRAFFIC.values()):
        for each in traffic(rng):
            octets = bytearray(each.octets)
            if len(octets) >= 12:
                octets[9] ^= index  # an SSRC of its own
            datagrams.append(Datagram(each.seconds, bytes(octets), (each.peer[0], each.peer[1] + index)))
    exact, fast = (Way(fast=each, batch_rows=64, payload_types={101: "telephone-event/8000"}) for each in (False, True))
    play(datagrams, exact, fast)
    assert_equal(exact, fast)


@pytest.mark.parametrize(
    "caps",
    [
        Caps(source_packets_per_second=37),
        Caps(source_bytes_per_second=4_000),
        Caps(packets_per_second=170),
        Caps(bytes_per_second=30_000),
        Caps(sources=3, new_ssrcs_per_second=2),
    ],
    ids=["source packets", "source bytes", "packets", "bytes", "sources"],
)
def test_caps_shed_the_same_packets_both_ways(caps: Caps) -> None:
    """A cap that holds only on one of the ways is no cap."""
    datagrams = list(clean(np.random.default_rng(7)))
    exact, fast = (Way(fast=each, settings={"caps": caps}) for each in (False, True))
    play(datagrams, exact, fast)
    assert_equal(exact, fast)
    assert any(name.startswith("cap_") for name in exact.counts)


@pytest.mark.parametrize("gathered_seconds", [0.001, 0.045], ids=["spread", "several of a stream at once"])
def test_steady_packets_do_not_take_the_exact_path(gathered_seconds: float) -> None:
    """The fast way is worth its code only while nearly all packets of ordinary calls take it."""
    way = Way(fast=True)
    exact_packets = 0
    hear = way.receiver.hear

    def counted(*args: object, **named: object) -> None:
        nonlocal exact_packets
        exact_packets += 1
        hear(*args, **named)  # type: ignore[arg-type]

    way.receiver.hear = counted  # type: ignore[method-assign, assignment]
    gathered = [
        Datagram(np.ceil(each.seconds / gathered_seconds) * gathered_seconds, each.octets, each.peer)
        for each in clean(np.random.default_rng(1))
    ]
    play(gathered, way)
    assert exact_packets <= 5 * 16  # of 150: until the stream is proven, whole batches
    assert sum(len(each.segments) for each in way.sink.streams) == 5 * 5


def test_a_stream_that_falls_silent_in_a_lane_is_told_to_have_stalled() -> None:
    """A lane must not hide silence from the sweep."""
    way = Way(fast=True)
    play(call(np.random.default_rng(1), 1, packets=60), way, seconds=2.0)
    (stream,) = way.sink.streams
    assert EventKind.MEDIA_STALLED in [kind for kind, _ in stream.events]


@pytest.mark.parametrize("lost", [None, 130], ids=["nothing lost", "a packet lost later"])
def test_a_capture_loss_marks_the_same_segments_both_ways(lost: int | None) -> None:
    """The drop was of another stream's packets: a mark that waits in a lane would fall on whatever is lost next."""
    datagrams = call(np.random.default_rng(1), 1, packets=200, jitter_seconds=0.0)
    ways = [Way(fast=each) for each in (False, True)]
    for way in ways:
        for n, each in enumerate(datagrams):
            way.hear([each] if n != lost else [], each.seconds)
            if n == 80:
                (way.lanes if way.fast else way.receiver).capture_lost(40)
            way.sweep(each.seconds)
        way.close()
    assert_equal(*ways)
    assert ways[1].fastest > 0
    (stream,) = ways[1].sink.streams
    # packet 81 begins at 1.62 s; segments of 1 s begin every 0.5 s
    assert [due.segment_index for due, _ in stream.segments if due.marks] == [2, 3]


def test_a_run_leaves_the_session_as_its_packets_would() -> None:
    """What RTCP and the next generation ask of a session: wraps, the newest number, what is expected next."""
    alone, together = RtpSession(payload_map=PayloadMap()), RtpSession(payload_map=PayloadMap())
    packets = [pcmu(65_530 + n, 160 * n + 2**32 - 800) for n in range(30)]
    for n, packet in enumerate(packets):
        alone.push(packet, 0.02 * n)
        if n < 3:
            together.push(packet, 0.02 * n)
    payloads = np.frombuffer(b"".join(packet.payload for packet in packets[3:]), np.uint8).reshape(-1, 160)
    together.push_run(PacketRun(payloads=payloads, arrivals=[0.02 * n for n in range(3, 30)]))
    assert together.steady() == alone.steady()
    for name in ("cycles", "newest_number", "first_number", "cumulative_lost", "packet_seconds", "clock_rate_hz"):
        assert getattr(together, name) == getattr(alone, name), name
    assert (alone.cycles, alone.newest_number) == (1, (65_530 + 29) % 2**16)
    assert together.interval() == alone.interval()
    assert together.statistics() == alone.statistics()


def test_a_run_is_noted_at_the_same_packets() -> None:
    """The recent network MOS hangs on the counts a second ago: one packet more or less there would be another MOS."""
    alone, together = RtpSession(payload_map=PayloadMap()), RtpSession(payload_map=PayloadMap())
    packets = [pcmu(n, 160 * n) for n in range(420)]
    run = range(30, 75)  # a second lies inside
    for n, packet in enumerate(packets):
        if n in (300, 301):
            continue
        alone.push(packet, 0.02 * n)
        if n not in run:
            together.push(packet, 0.02 * n)
        elif n == run[-1]:
            payloads = np.frombuffer(b"".join(packets[k].payload for k in run), np.uint8).reshape(-1, 160)
            together.push_run(PacketRun(payloads=payloads, arrivals=[0.02 * k for k in run]))
        if n > 301:
            assert together.statistics() == alone.statistics(), n

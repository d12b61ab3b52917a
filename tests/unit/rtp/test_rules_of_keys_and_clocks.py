"""Rules 24 and 25 of RTP done right: descriptions, keys and clocks, with the traffic they were written for.

Expected values come from the RFC or from arithmetic in the test, never from what the program printed.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rtp_traffic import Listener, Port, events, pcmu

from livemos.agent.errors import SdpError
from livemos.agent.reasons import Reason
from livemos.agent.records import EventKind, StreamState
from livemos.agent.rtp import seal
from livemos.agent.rtp.addresses import AddressPolicy, transport
from livemos.agent.rtp.clock_drift import ClockDrift
from livemos.agent.rtp.packet import build, parse
from livemos.agent.rtp.rtcp import RemoteReport, SenderReport, parse_compound
from livemos.agent.rtp.sdp import parse_sdp
from livemos.agent.rtp.seal import SUITES, SealError, SrtpKey, Unsealer
from livemos.agent.rtp.wall_clock import NTP_TO_UNIX_SECONDS, WallClock

SDP = """v=0
c=IN IP4 192.0.2.9
a=sendrecv
m=audio 5004 RTP/SAVP 96 97
c=IN IP4 232.1.1.1/32
a=sendonly
a=rtpmap:96 L16/16000
a=rtpmap:97 PCMU/8000
a=fmtp:96 x=1
a=ptime:20
a=maxptime:60
a=rtcp:5007
a=rtcp-mux
a=source-filter: incl IN IP4 232.1.1.1 192.0.2.1 192.0.2.2
a=crypto:1 NO_SUCH_SUITE inline:AAAA
a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{key}|2^31
"""


MASTER = bytes(range(30))


def test_rule_24_the_description_is_read_and_its_key_stays_out_of_every_text() -> None:
    """Media level beats session level; suites we cannot open are passed over."""
    description = parse_sdp(SDP.format(key=base64.b64encode(MASTER).decode()))
    assert (description.address, description.port, description.direction) == ("232.1.1.1", 5004, "sendonly")
    assert (description.ptime_ms, description.maxptime_ms, description.rtcp_port) == (20, 60, 5007)
    assert (description.rtcp_mux, description.source_filter) == (True, ("192.0.2.1", "192.0.2.2"))
    assert description.keys == (SrtpKey("AES_CM_128_HMAC_SHA1_80", MASTER),)
    assert description.parameters == {96: "x=1"}
    assert "0x" not in repr(description.keys) and str(MASTER) not in repr(description)
    with pytest.raises(SdpError) as refused:
        parse_sdp(SDP.format(key=base64.b64encode(MASTER[:20]).decode()))
    assert base64.b64encode(MASTER[:20]).decode() not in str(refused.value)


def sealed(suite: str, master: bytes, numbers: Iterable[int], *, ssrc: int = 0x1234) -> list[bytes]:
    """Datagrams of a sender that is libsrtp itself."""
    srtp = pytest.importorskip("pylibsrtp")
    profile = getattr(srtp.Policy, SUITES[suite][0])
    policy = srtp.Policy(key=master, ssrc_type=srtp.Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)
    sender = srtp.Session(policy)
    return [sender.protect(build(pcmu(number, ssrc=ssrc))) for number in numbers]


@pytest.mark.parametrize("suite", SUITES)
def test_rule_24_sealed_packets_open_over_the_wrap_and_a_wrong_key_is_told(suite: str) -> None:
    """Join at 65530, wrap to 5. The wrong key gives counts, a reason and never a score."""
    master = bytes(range(SUITES[suite][1]))
    datagrams = sealed(suite, master, range(65_530, 65_542))
    port = Port(unsealer=Unsealer(SrtpKey(suite, master)))
    for datagram in datagrams:
        port.send_bytes(datagram)
    assert (port.only().statistics.received_packets, port.only().seconds) == (12, pytest.approx(0.24))
    wrong = Port(unsealer=Unsealer(SrtpKey(suite, bytes(len(master)))))
    for datagram in datagrams:
        wrong.send_bytes(datagram)
    stream = wrong.only()
    assert wrong.counts["srtp_auth_failed_packets"] == 12
    assert (stream.seconds, stream.states) == (0, [(StreamState.UNDESCRIBED, Reason.ENCRYPTED)])
    assert events(stream.events, EventKind.DECRYPTION_FAILED) == [EventKind.DECRYPTION_FAILED]


@pytest.mark.parametrize("suite", SUITES)
def test_rule_24_sealed_reports_open_with_the_senders_key_alone(suite: str) -> None:
    """A sender report under the same key sets the wall clock; one under another key is counted and not believed."""
    import pylibsrtp

    name, size = SUITES[suite]
    master = bytes(range(size))
    port = Port(unsealer=Unsealer(SrtpKey(suite, master)))
    for datagram in sealed(suite, master, range(50)):
        port.send_bytes(datagram)
    ntp = round(1_700_000_000 + NTP_TO_UNIX_SECONDS)
    report = struct.pack("!BBHIIIIII", 0x80, 200, 6, 0x1234, ntp, 0, 0, 50, 8_000)
    profile = getattr(pylibsrtp.Policy, name)
    for key in (master, bytes(size)):
        policy = pylibsrtp.Policy(key=key, ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)
        port.send_bytes(pylibsrtp.Session(policy).protect_rtcp(report))
    assert (port.counts["sender_reports"], port.counts["rtcp_undecryptable_packets"]) == (1, 1)


@pytest.mark.parametrize("suite", SUITES)
def test_rule_24_a_key_with_an_mki_opens_what_bears_it(suite: str) -> None:
    """SDES names keys: `|2^20|66051:4` is 00 01 02 03 in every packet, behind the payload and before the tag."""
    import pylibsrtp

    name, size = SUITES[suite]
    master = bytes(range(size))
    key = SrtpKey.parse(suite, base64.b64encode(master).decode() + "|2^20|66051:4", where="the SDP")
    assert key.mki == b"\x00\x01\x02\x03"
    profile = getattr(pylibsrtp.Policy, name)
    policy = pylibsrtp.Policy(key=master, ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)
    sender, unsealer = pylibsrtp.Session(policy), Unsealer(key)
    tag = {"AES_CM_128_HMAC_SHA1_80": 10, "AES_CM_128_HMAC_SHA1_32": 4}.get(suite, 0)
    for number in range(3):
        sealed = sender.protect(build(pcmu(number)))
        at = len(sealed) - tag
        assert unsealer.unseal(sealed[:at] + key.mki + sealed[at:], 0x1234) == build(pcmu(number))
    report = sender.protect_rtcp(struct.pack("!BBHIIIIII", 0x80, 200, 6, 0x1234, 1, 0, 0, 50, 8_000))
    end = len(report) - (10 if tag else 0)  # RFC 4568 section 6.2.2: 80 bits also with SHA1_32
    assert unsealer.unseal_control(report[:end] + key.mki + report[end:])[:2] == b"\x80\xc8"
    with pytest.raises(SealError, match="another key"):
        unsealer.unseal(sealed[:at] + b"\x00\x01\x02\x04" + sealed[at:], 0x1234)
    with pytest.raises(SdpError, match="does not fit"):
        SrtpKey.parse(suite, base64.b64encode(master).decode() + "|256:1", where="the SDP")


def test_rule_24_a_late_join_needs_the_roll_over_counter_and_a_replay_is_refused() -> None:
    """Three wraps into a call: with roc=3 all pass, without it none, and nothing passes twice."""
    suite = "AES_CM_128_HMAC_SHA1_80"
    walk = [*range(0, 3 << 16, 0x7000)]
    late = sealed(suite, MASTER, [*walk, *range(3 << 16, (3 << 16) + 10)])[len(walk) :]
    knowing, ignorant = Unsealer(SrtpKey(suite, MASTER, roc=3)), Unsealer(SrtpKey(suite, MASTER))
    assert [parse(knowing.unseal(datagram, 0x1234)).sequence_number for datagram in late] == list(range(10))
    for datagram in late:
        with pytest.raises(SealError):
            ignorant.unseal(datagram, 0x1234)
        with pytest.raises(SealError):
            knowing.unseal(datagram, 0x1234)


def test_rule_24_a_held_call_opens_again_behind_the_wrap() -> None:
    """Joined at 65500, held for 35 s after the wrap: the stream has ended, its roll-over counter has not."""
    port = Port(unsealer=Unsealer(SrtpKey("AES_CM_128_HMAC_SHA1_80", MASTER)))
    datagrams = sealed("AES_CM_128_HMAC_SHA1_80", MASTER, range(65_500, 65_700))
    for held, part in ((0, datagrams[:100]), (35, datagrams[100:])):
        port.wait(held)
        for datagram in part:
            port.send_bytes(datagram)
    assert port.counts["srtp_auth_failed_packets"] == 0
    assert [stream.seconds for stream in port.streams] == [pytest.approx(2.0)] * 2
    # where the call began anew, it opens with the key's own counter
    port.wait(35)
    for datagram in sealed("AES_CM_128_HMAC_SHA1_80", MASTER, range(10, 20)):
        port.send_bytes(datagram)
    assert port.streams[-1].seconds == pytest.approx(0.2)


def test_rule_24_of_the_senders_that_left_the_last_ones_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter for every SSRC there ever was would fill the memory of a listener that runs for a year."""
    monkeypatch.setattr(seal, "REMEMBERED_SENDERS", 2)
    unsealer = Unsealer(SrtpKey("AES_CM_128_HMAC_SHA1_80", MASTER))
    calls = [sealed("AES_CM_128_HMAC_SHA1_80", MASTER, range(65_530, 65_550), ssrc=ssrc) for ssrc in (1, 2, 3)]
    for ssrc, datagrams in enumerate(calls, start=1):
        for datagram in datagrams[:10]:
            unsealer.unseal(datagram, ssrc)
        unsealer.forget(ssrc)
    for ssrc in (2, 3):
        assert parse(unsealer.unseal(calls[ssrc - 1][10], ssrc)).sequence_number == 4
    with pytest.raises(SealError):
        unsealer.unseal(calls[0][10], 1)


def test_rule_24_of_the_keys_of_a_line_the_first_is_used_and_none_is_printed() -> None:
    """RFC 4568 parts them by a semicolon; a message that quotes what it cannot read would print the second one."""
    first, second = (base64.b64encode(bytes(range(begin, begin + 30))).decode() for begin in (0, 100))
    described = SDP.format(key=f"{first}|2^20|1:4;inline:{second}")
    (key,) = parse_sdp(described).keys
    assert (key.master, key.mki) == (MASTER, b"\0\0\0\1")
    # the last one was wrapped: the key is a line of its own
    for broken in (f"{first}|{second}:4", f"{second[:8]};inline:{first}", f"\n{first}"):
        with pytest.raises(SdpError) as refused:
            parse_sdp(SDP.format(key=broken))
        assert first[:8] not in str(refused.value) and second[:8] not in str(refused.value)


CM80 = "AES_CM_128_HMAC_SHA1_80"


def keyed(**settings: Any) -> Port:
    return Port(unsealer=Unsealer(SrtpKey(CM80, MASTER)), **settings)


def forged(number: int, *, ssrc: int = 0x1234) -> bytes:
    """With room for a tag that nobody made."""
    return build(pcmu(number, ssrc=ssrc)) + bytes(10)


def test_rule_24_padding_is_read_behind_the_seal() -> None:
    """The last octet of a sealed datagram is of its tag: as a count of padding it refused three packets in ten."""
    import pylibsrtp

    sender = pylibsrtp.Session(pylibsrtp.Policy(key=MASTER, ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND))
    port = keyed()
    for number in range(200):
        padded = bytearray(build(pcmu(number)) + b"\0\0\0\4")
        padded[0] |= 0x20
        port.send_bytes(sender.protect(bytes(padded)))
    assert (port.only().statistics.received_packets, port.only().seconds) == (200, pytest.approx(4.0))
    # a packet of padding alone keeps a way through a firewall open; it opens, and is no forgery
    keepalive = bytearray(build(pcmu(200))[:12] + b"\0\0\0\4")
    keepalive[0] |= 0x20
    port.send_bytes(sender.protect(bytes(keepalive)))
    assert (port.counts["invalid_empty_packets"], port.counts["srtp_auth_failed_packets"]) == (1, 0)
    port.send_bytes(build(pcmu(201))[:12])
    assert port.counts["invalid_empty_packets"] == 2


def test_rule_24_what_opens_is_never_the_stream_of_what_does_not() -> None:
    """A late join is `encrypted`; its next SSRC begins at 0, opens and has its score. And the other way round."""
    late = sealed(CM80, MASTER, range(65_400, 65_700), ssrc=0xA)[200:]
    fresh, foreign = (sealed(CM80, key, range(50), ssrc=0xB) for key in (MASTER, bytes(30)))
    port = keyed()
    for part in (late, fresh):
        for datagram in part:
            port.send_bytes(datagram)
        port.wait(0.5)
    assert [(stream.states[0], stream.seconds) for stream in port.streams] == [
        ((StreamState.UNDESCRIBED, Reason.ENCRYPTED), 0),
        ((StreamState.ACTIVE, None), pytest.approx(1.0)),
    ]
    port = keyed()
    for part in (sealed(CM80, MASTER, range(50), ssrc=0xA), foreign):
        for datagram in part:
            port.send_bytes(datagram)
        port.wait(0.5)
    assert [stream.states[0] for stream in port.streams] == [
        (StreamState.ACTIVE, None),
        (StreamState.UNDESCRIBED, Reason.ENCRYPTED),
    ]


def test_rule_24_what_does_not_open_moves_nobody() -> None:
    """One forged packet in a pause took a stream away from its sender, or the whole port with `learn_once`."""
    stranger = ("203.0.113.9", 666)
    port = keyed()
    datagrams = sealed(CM80, MASTER, range(30))
    for datagram in datagrams[:10]:
        port.send_bytes(datagram)
    port.wait(1.5)
    port.send_bytes(forged(10), peer=stranger)
    for datagram in datagrams[10:20]:
        port.send_bytes(datagram)
    port.wait(1.5)
    for datagram in datagrams[20:]:
        port.send_bytes(datagram, peer=stranger)  # now it is the sender itself
    assert port.counts["srtp_auth_failed_packets"] == 1
    assert (port.only().statistics.received_packets, port.only().seconds) == (30, pytest.approx(0.6))
    assert len(events(port.only().events, EventKind.SOURCE_MOVED)) == 1
    once = keyed(policy=AddressPolicy.LEARN_ONCE)
    for number in range(2):
        once.send_bytes(forged(number, ssrc=99), peer=stranger)
    for number in range(2):
        once.send_bytes(forged(number), peer=stranger)  # under the SSRC of the one to come
    for datagram in datagrams:
        once.send_bytes(datagram)
    assert once.streams[-1].seconds == pytest.approx(0.6)
    once.send_bytes(forged(2, ssrc=99), peer=stranger)
    assert once.counts["source_rejected_packets"] == 1
    # nothing of an unreadable stream proves where its sender is
    closed = keyed()
    for number in range(10):
        closed.send_bytes(forged(number))
    closed.wait(1.5)
    closed.send_bytes(forged(10), peer=stranger)
    assert events(closed.only().events, EventKind.SOURCE_MOVED) == []


def test_rule_24_what_a_relay_hands_on_is_no_replay() -> None:
    """A capture beside a relay sees each sealed packet twice, on its way to two addresses: two streams with a score."""
    port = keyed()
    for datagram in sealed(CM80, MASTER, range(50)):
        for sender, receiver in (("192.0.2.1", "192.0.2.9"), ("192.0.2.9", "192.0.2.2")):
            port.receiver.hear(datagram, transport(sender, 5_000), transport(receiver, 5_004), port.now)
        port.wait(0.02)
    assert [stream.seconds for stream in port.streams] == [pytest.approx(1.0)] * 2
    assert port.counts["srtp_auth_failed_packets"] == 0
    port.wait(31)
    assert port.receiver.senders == 0


def test_rule_24_the_seal_of_an_earlier_generation_is_put_away() -> None:
    """A trunk that changes its SSRC with each call would keep a session of libsrtp for each of them."""
    unsealer = Unsealer(SrtpKey(CM80, MASTER))
    port = Port(unsealer=unsealer)
    for call in range(5):
        for datagram in sealed(CM80, MASTER, range(20), ssrc=100 + call):
            port.send_bytes(datagram)
        port.wait(0.5)
    assert (len(port.streams), port.counts["ssrc_changes"], unsealer.sessions) == (1, 4, 1)
    port.send_bytes(sealed(CM80, MASTER, range(1), ssrc=7)[0])  # one packet proves nothing
    port.wait(3)
    assert unsealer.sessions == 1
    port.wait(30)
    assert unsealer.sessions == 0


def test_rule_25_the_drift_of_a_sender_is_told_in_ppm_and_is_no_fault() -> None:
    """+100 ppm for an hour behind a growing queue: 100 within 5, and no media-rate event."""
    drift = ClockDrift()
    seed = np.random.default_rng(25)
    for number in range(180_000):
        media = 0.02 * number
        # nine packets of ten wait in a queue that grows by 0.1 s in the hour: 28 ppm, were it taken for the clock
        queued = 0.1 * media / 3_600 if number % 10 else 0.0
        drift.heard(media, media / 1.0001 + queued + float(seed.exponential(0.002)))
    assert drift.ppm == pytest.approx(100, abs=5)
    listener = Listener()
    listener.hear((pcmu(number) for number in range(3_000)), every=0.02 / 1.0001)
    assert listener.session.statistics().clock_drift_ppm == pytest.approx(100, abs=1)
    assert listener.events() == []


def test_rule_25_only_a_sane_sender_report_sets_the_wall_clock() -> None:
    """A report of 1975, one that stands still and one at half speed are counted and forgotten."""

    def report(unix: float, timestamp: int) -> SenderReport:
        seconds = int(unix) + NTP_TO_UNIX_SECONDS
        return SenderReport(
            ssrc=1, ntp_seconds=seconds, ntp_fraction=unix % 1, rtp_timestamp=timestamp % 2**32, packets=1
        )

    clock, now = WallClock(), 1_700_000_000.0
    assert not clock.heard(report(157_766_400.0, 0), 8_000, now)
    assert clock.unix_seconds(0, 8_000) is None
    assert clock.heard(report(now, 2**32 - 8_000), 8_000, now)
    assert clock.heard(report(now + 5, 32_000), 8_000, now + 5)
    assert not clock.heard(report(now + 5, 72_000), 8_000, now + 10)
    assert not clock.heard(report(now + 10, 32_000 + 20_000), 8_000, now + 10)
    assert clock.insane_reports == 3
    assert clock.unix_seconds(36_000, 8_000) == pytest.approx(now + 5.5)
    signed = struct.pack("!BBHI", 0x81, 201, 7, 9) + struct.pack("!IIIIII", 1, 0x40FFFFFF, 0, 268_435_456, 0, 0)
    assert parse_compound(signed) == [
        RemoteReport(reporter=9, ssrc=1, fraction_lost_ratio=0.25, cumulative_lost=-1, jitter_ticks=268_435_456)
    ]


def test_rule_25_sender_reports_go_on_behind_the_end_of_ntps_32_bits() -> None:
    """On 7 February 2036, 06:28:16 UTC, the seconds begin again at 0."""
    last_unix = 2**32 - 1 - NTP_TO_UNIX_SECONDS
    clock = WallClock()
    for later in (0, 5, 10):
        seconds = (2**32 - 4 + later) % 2**32
        report = SenderReport(ssrc=1, ntp_seconds=seconds, ntp_fraction=0.5, rtp_timestamp=8_000 * later, packets=1)
        assert clock.heard(report, 8_000, last_unix + later + 0.1)
    assert clock.unix_seconds(80_000, 8_000) == last_unix - 3 + 10 + 0.5
    # a sender that has no clock counts from 1900, which is no era but the first
    assert not WallClock().heard(replace(report, ntp_seconds=1_000), 8_000, 1_700_000_000.0)

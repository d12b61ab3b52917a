"""Any traffic through every listener profile: what holds whatever the network does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rtp_traffic import pcmu

from livemos.agent.rtp.payload_map import PayloadMap
from livemos.agent.rtp.playout import PROFILES
from livemos.agent.rtp.session import RtpSession

PACKETS = 50


@settings(max_examples=15, deadline=None)
@given(
    delays=st.lists(st.floats(0.0, 0.7), min_size=PACKETS, max_size=PACKETS),
    lost=st.sets(st.integers(0, PACKETS - 1), max_size=15),
    paused=st.integers(0, PACKETS),
    jump=st.sampled_from([0, 160, 8_000, -8_000, 80_000]),
)
@pytest.mark.parametrize("profile", PROFILES)
def test_what_arrives_is_played_once_or_counted_late(
    profile: str, delays: list[float], lost: set[int], paused: int, jump: int
) -> None:
    """No packet is played twice, none stays behind, time never goes back, and no block is without end."""
    session = RtpSession(payload_map=PayloadMap(), profiles=(profile,))
    sent = [
        (0.02 * n + (1.0 if n >= paused else 0.0) + delays[n], n, 160 * n + (8_000 + jump if n >= paused else 0))
        for n in range(PACKETS)
        if n not in lost
    ]
    blocks = []
    # every number has its own value, so that a packet is known again in what was played
    for arrival, number, timestamp in sorted(sent):
        payload = bytes([(number % 100) + 20]) * 160
        blocks += session.push(pcmu(1_000 + number, timestamp, payload=payload, marker=number == paused), arrival)
    end = max((arrival for arrival, _, _ in sent), default=0.0)
    blocks += session.tick(end + 0.3)
    blocks += session.tick(float("inf"))
    media = session.statistics()
    ready = [block.ready_monotonic_seconds for block in blocks]
    assert all(len(block.samples) <= 2 * 8_000 and np.isfinite(block.samples).all() for block in blocks)
    assert session.next_due_seconds is None
    assert media.late_packets is not None and media.received_packets is not None
    good = sum(1 for block in blocks if not block.concealed and block.samples.std() < 0.2 and block.samples.any())
    assert ready == sorted(ready)
    if profile == "ideal":  # the others may drop packets that came in time, to shrink
        assert good >= media.received_packets - media.late_packets
    # packets from before the first two in sequence may be late without being expected
    assert good <= media.received_packets

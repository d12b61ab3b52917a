"""A sender in the hand, and a sink that a test can wait on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import rtp_traffic
from recording import RecordingSink

from livemos.agent.rtp.packet import Packet


@pytest.fixture
def pcmu() -> Callable[..., Packet]:
    """See rtp_traffic.pcmu."""
    return rtp_traffic.pcmu


@pytest.fixture
def recorder() -> RecordingSink:
    """For real sockets."""
    return RecordingSink()

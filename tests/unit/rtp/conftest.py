"""A sender in the hand: packets of a rising tone with chosen sequence numbers and timestamps."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from livemos.agent.rtp.packet import Packet

PacketMaker = Callable[..., Packet]


@pytest.fixture
def pcmu() -> PacketMaker:
    """pcmu(sequence_number, timestamp=160 * sequence_number, ...) -> 20 ms of PCMU with a level that is not silence."""

    def make(
        sequence_number: int,
        timestamp: int | None = None,
        *,
        payload_type: int = 0,
        payload: bytes = b"\x20\xa0" * 80,
        ssrc: int = 0x1234,
        marker: bool = False,
    ) -> Packet:
        return Packet(
            payload_type=payload_type,
            sequence_number=sequence_number % 2**16,
            timestamp=(160 * sequence_number if timestamp is None else timestamp) % 2**32,
            ssrc=ssrc,
            marker=marker,
            payload=payload,
        )

    return make


def _recording_sink() -> Any:
    """The class of the sources' own tests: importlib mode knows no imports between test folders."""
    path = Path(__file__).parents[1] / "sources" / "conftest.py"
    spec = importlib.util.spec_from_file_location("recording", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.RecordingSink()


@pytest.fixture
def recorder() -> Any:
    """A sink that a test can wait on, for real sockets."""
    return _recording_sink()

"""What every source's test writes into."""

from __future__ import annotations

import pytest
from recording import RecordingSink


@pytest.fixture
def sink() -> RecordingSink:
    """A RecordingSink with room for all."""
    return RecordingSink()


@pytest.fixture
def small_sink() -> RecordingSink:
    """A RecordingSink with room for one stream."""
    return RecordingSink(room=1)

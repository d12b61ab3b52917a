"""The packaged model, loaded once."""

from __future__ import annotations

import pytest

from livemos.agent.scorer import Scorer


@pytest.fixture(scope="session")
def scorer() -> Scorer:
    """The packaged model."""
    return Scorer()

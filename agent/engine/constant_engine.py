"""A fixed score for every segment: for dry runs of the feed and for tests of all that lies around the model."""

from __future__ import annotations

import numpy as np

from livemos.agent.bundle import Bundle
from livemos.agent.engine.base import EngineDescription, Features, Outputs

_FIXED = {"mos": 3.0, "speech_ratio": 1.0, "mos_std": 0.5, "cause_none": 1.0}


def _fixed(name: str) -> float:
    return _FIXED.get(name, 0.0 if name.startswith("cause_") else 3.0)


class ConstantEngine:
    """Every output at a fixed value, whatever is heard; its description says so."""

    def __init__(self, bundle: Bundle, *, threads: int = 1, precision: str = "") -> None:
        self._row = np.array([_fixed(output.name) for output in bundle.manifest.outputs], np.float32)

    def score(self, features: Features) -> Outputs:
        """(B, T, F) -> (B, K), all rows equal."""
        return np.tile(self._row, (len(features), 1))

    def warm_up(self) -> None:
        """Nothing to warm."""

    def describe(self) -> EngineDescription:
        """Named so that nobody takes its scores for measurements."""
        return EngineDescription(name="constant", device="none", precision="fixed 3.0", version="1")

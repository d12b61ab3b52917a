"""The seam to an inference runtime: features of a batch of segments in, named outputs in their own units out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float32]  # (B, 98, 64) log-mel, agent/features.py
Outputs = npt.NDArray[np.float32]  # (B, K), columns as the bundle's manifest names them


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDescription:
    """What runs, for people and for GetModel."""

    name: str
    device: str
    precision: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.device}, {self.precision})"


class Engine(Protocol):
    """Scores batches. Called by one thread at a time."""

    def score(self, features: Features) -> Outputs:
        """(B, T, F) float32 -> (B, K) float32. Each row depends on its own segment alone. Raises EngineError."""
        ...

    def warm_up(self) -> None:
        """Run once so that the first live segment pays nothing extra. Raises EngineError."""
        ...

    def describe(self) -> EngineDescription:
        """Name, device, precision and version of the runtime."""
        ...

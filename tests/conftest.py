"""Fixtures that every room may use: signals, a bundle without a trained graph, a packaged clip."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from livemos.agent.bundle import (
    REQUIRED_OUTPUTS,
    Bundle,
    FeatureSpec,
    GateSpec,
    Manifest,
    OutputSpec,
    model_id,
    sha256,
)
from livemos.agent.engine.base import EngineDescription, Features, Outputs
from livemos.agent.features import LogMel
from livemos.agent.records import Samples

DATA = Path(__file__).parent / "data"


def pytest_configure() -> None:
    """A shell starts background jobs with Ctrl-C ignored, and every command a test starts would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def noise() -> Callable[..., Samples]:
    """Seeded white noise: noise(samples, level=0.1, seed=0) -> (N,) float32."""

    def make(samples: int, level: float = 0.1, seed: int = 0) -> Samples:
        return (np.random.default_rng(seed).standard_normal(samples) * level).astype(np.float32)

    return make


def bundle_without_graph() -> Bundle:
    """A valid manifest around bytes that are no graph: for everything that brings an engine of its own."""
    graph = b"no graph"
    limits = {"speech_ratio": ("ratio", 0.0, 1.0), "mos_std": ("MOS", 0.0, 4.0)}
    manifest = Manifest(
        name="test",
        version="1",
        model_id=model_id("test", "1", sha256(graph)),
        licence="Apache-2.0",
        sample_rate_hz=16_000,
        segment_samples=16_000,
        stride_samples=8_000,
        features=FeatureSpec(**LogMel().parameters()),
        outputs=tuple(
            OutputSpec(name=name, unit=unit, minimum=low, maximum=high)
            for name in REQUIRED_OUTPUTS
            for unit, low, high in [limits.get(name, ("MOS", 1.0, 5.0))]
        ),
        gate=GateSpec(minimum_speech_ratio=0.1),
        opset=18,
        files={"model.onnx": sha256(graph)},
    )
    return Bundle(manifest=manifest, files={"model.onnx": graph}, origin="test")


@pytest.fixture
def graphless_bundle() -> Bundle:
    """See bundle_without_graph."""
    return bundle_without_graph()


class LevelEngine:
    """An engine one can predict: mos rises with the mean of the features, everything else is fixed."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def score(self, features: Features) -> Outputs:
        self.batches.append(len(features))
        outputs = np.full((len(features), len(REQUIRED_OUTPUTS)), 3.0, np.float32)
        outputs[:, 0] = 3.0 + 0.1 * features.mean(axis=(1, 2))
        outputs[:, REQUIRED_OUTPUTS.index("speech_ratio")] = 0.8
        outputs[:, REQUIRED_OUTPUTS.index("mos_std")] = 0.5
        return outputs

    def warm_up(self) -> None:
        """Nothing to warm."""

    def describe(self) -> EngineDescription:
        return EngineDescription(name="level", device="test", precision="fp32", version="1")


@pytest.fixture
def level_engine() -> LevelEngine:
    """See LevelEngine."""
    return LevelEngine()

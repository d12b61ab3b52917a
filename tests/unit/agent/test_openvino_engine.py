"""The OpenVINO engine scores what ONNX Runtime scores, from the same bundle."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from livemos.agent.bundle import FP32, GRAPH, Bundle, load_bundle
from livemos.agent.engine import make_engine
from livemos.agent.errors import EngineError


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle()


@pytest.mark.parametrize("count", [0, 1, 37])
def test_it_agrees_with_onnx_runtime_at_any_batch(bundle: Bundle, count: int) -> None:
    """Its own default arithmetic is bfloat16, off by thousandths of a MOS: here it must be float32."""
    pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
    features = np.random.default_rng(0).normal(-4.0, 3.0, (count, 98, 64)).astype(np.float32)
    engine = make_engine("openvino", bundle)
    expected = make_engine("onnxruntime", bundle).score(features)
    np.testing.assert_allclose(engine.score(features), expected, atol=2e-4)
    assert str(engine.describe()).startswith("openvino ")
    with pytest.raises(ValueError, match="features are"):
        engine.score(np.zeros((1, 97, 64), np.float32))


def test_the_graph_in_8_bits_is_refused(bundle: Bundle) -> None:
    """OpenVINO gives it scores that are 0.6 MOS off; ONNX Runtime is 0.03 off. A wrong score is worse than none."""
    pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
    with pytest.raises(EngineError, match="choose openvino or onnxruntime/int8"):
        make_engine("openvino/int8", bundle)


def test_a_damaged_graph_is_an_engine_error(bundle: Bundle) -> None:
    """The agent ends with one line, not with a trace of a C++ library."""
    pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
    damaged = Bundle(manifest=bundle.manifest, files={GRAPH: bundle.graph[:1_000]}, origin="damaged.livemos")
    with pytest.raises(EngineError, match="OpenVINO cannot load the graph"):
        make_engine("openvino", damaged)


def test_without_the_extra_the_command_to_install_it_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings name an engine; the installation decides whether it exists."""
    monkeypatch.delitem(sys.modules, "livemos.agent.engine.openvino_engine", raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"openvino is not installed.*pip install 'livemos\[openvino\]'"):
        make_engine(f"openvino/{FP32}", bundle)

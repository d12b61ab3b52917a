"""One ONNX file for all runtimes: the pooling is a node, and its function computes what the definition computes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from livemos.export.pooling_function import pooling_function
from livemos.export.to_onnx import inlined, pooling_nodes, to_onnx, without_functions
from livemos.kernels.asp.reference import EPSILON, asp_reference
from livemos.kernels.operators import attentive_stats_pool

Array = npt.NDArray[np.float32]


def _session(epsilon: float | None) -> onnxruntime.InferenceSession:
    """The node alone with its function; scores of rank 2 or 3."""
    shapes: dict[str, list[str] | None] = {"h": ["B", "T", "D"], "e": None, "lengths": ["B"]}
    kinds = {"h": onnx.TensorProto.FLOAT, "e": onnx.TensorProto.FLOAT, "lengths": onnx.TensorProto.INT32}
    given = [onnx.helper.make_tensor_value_info(name, kinds[name], shape) for name, shape in shapes.items()]
    node = onnx.helper.make_node("AttentiveStatsPool", list(shapes), ["out"], domain="livemos")
    if epsilon is not None:
        node.attribute.append(onnx.helper.make_attribute("epsilon", epsilon))
    out = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["B", "E"])
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("livemos", 1)]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "pool", given, [out]),
        opset_imports=opsets,
        ir_version=10,
        functions=[pooling_function()],
    )
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def _cases() -> dict[str, tuple[Array, Array]]:
    rng = np.random.default_rng(2)
    h = rng.standard_normal((4, 25, 10)).astype(np.float32)
    e = rng.standard_normal((4, 25)).astype(np.float32)
    poisoned = h.copy()
    poisoned[1, 17:] = np.nan
    return {
        "ordinary": (h, e),
        "a score a channel": (h, rng.standard_normal(h.shape).astype(np.float32)),
        "far from zero": (h + np.float32(1_000), e),
        "constant frames": (np.full_like(h, 100.3), e),
        "one-hot-like": (h, 30 * e),
        "NaN in the padding": (poisoned, e),
        "no score above -inf": (h, np.where(np.arange(4)[:, None] == 2, -np.inf, e).astype(np.float32)),
        "large negative scores": (h, e - np.float32(1e30)),
    }


@pytest.mark.parametrize("epsilon", [None, 1e-3])
@pytest.mark.parametrize("case", list(_cases()))
def test_the_function_computes_the_definition(case: str, epsilon: float | None) -> None:
    """Runtimes without a kernel of that name must score as training did, also in the corners."""
    h, e = _cases()[case]
    lengths = np.array([25, 17, 25, 0], np.int32)
    (found,) = _session(epsilon).run(None, {"h": h, "e": e, "lengths": lengths})
    expected = asp_reference(*(torch.from_numpy(value) for value in (h, e, lengths)), epsilon or EPSILON).numpy()
    assert np.isfinite(found).all()
    # at 1,000 a float32 has four decimals
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-4 if case == "far from zero" else 1e-6)


class _Pools(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(64, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, 64) -> (B, 128)."""
        return attentive_stats_pool(features, self.score(features).squeeze(-1), epsilon=1e-4)


@pytest.fixture(scope="module")
def network() -> _Pools:
    torch.manual_seed(0)
    return _Pools().eval()


@pytest.fixture(scope="module")
def graph(network: _Pools) -> bytes:
    return to_onnx(network, 98, 64)


def test_the_exported_graph_keeps_one_node_with_its_function(network: _Pools, graph: bytes) -> None:
    """A plugin finds the node by name; everybody else finds the function."""
    model = onnx.load_from_string(graph)
    (node,) = pooling_nodes(model)
    (attribute,) = node.attribute
    assert (attribute.name, attribute.f) == ("epsilon", pytest.approx(1e-4))
    assert [(function.domain, function.name) for function in model.functions] == [("livemos", "AttentiveStatsPool")]
    features = np.random.default_rng(1).standard_normal((3, 98, 64)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(features)).numpy()
    for each in (graph, inlined(graph)):
        (found,) = onnxruntime.InferenceSession(each).run(None, {"features": features})
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_variant_for_a_plugin_differs_in_nothing_but_the_function(graph: bytes) -> None:
    """A function wins over a plugin of its name, so the plugin's graph must not have it; all else must be equal."""
    whole, bare = onnx.load_from_string(graph), onnx.load_from_string(without_functions(graph))
    assert len(bare.functions) == 0
    assert bare.graph == whole.graph
    assert list(bare.opset_import) == list(whole.opset_import)
    onnx.checker.check_model(bare)
    with pytest.raises(Exception, match="not a registered function/op"):
        onnxruntime.InferenceSession(without_functions(graph))


def test_the_inlined_variant_needs_nothing_of_ours(graph: bytes) -> None:
    """Quantisers and readers that know no functions get ONNX's own operators."""
    plain = onnx.load_from_string(inlined(graph))
    assert {each.domain for each in plain.opset_import} == {""}
    assert not plain.functions
    assert not pooling_nodes(plain)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_export_that_did_not_ask_gets_the_definition(network: _Pools) -> None:
    """A stranger's torch.onnx.export has no function of ours to add, so it must not meet our node."""
    program = torch.onnx.export(network, (torch.zeros(2, 98, 64),), dynamo=True, verbose=False)
    assert program is not None
    assert not pooling_nodes(program.model_proto)


def test_the_mean_is_the_nearest_float_far_from_zero() -> None:
    """One pass leaves several units of the last place at 1,000; the second pass is in the function, too."""
    rng = np.random.default_rng(3)
    h = (1_000.0 + rng.standard_normal((64, 98, 8))).astype(np.float32)
    e = rng.standard_normal((64, 98)).astype(np.float32)
    (found,) = _session(None).run(None, {"h": h, "e": e, "lengths": np.full(64, 98, np.int32)})
    weight = np.exp(e.astype(np.float64))[:, :, None]
    exact = (weight * h).sum(axis=1) / weight.sum(axis=1)
    assert np.abs(found[:, :8] - exact).max() < 6.2e-5  # float32 steps by 6.1e-5 there


def test_constant_frames_deviate_by_nothing_but_epsilon() -> None:
    """What rounding leaves in the mean is no spread of the frames; the definition takes it out, and so must this."""
    h = np.full((8, 98, 8), 1_000.3, np.float32) * np.linspace(0.7, 1.3, 8, dtype=np.float32)
    e = np.random.default_rng(3).standard_normal((8, 98)).astype(np.float32)
    (found,) = _session(1e-12).run(None, {"h": h, "e": e, "lengths": np.full(8, 98, np.int32)})
    assert found[:, 8:].max() < 2e-6  # the root of epsilon is 1e-6; without the correction it is 6e-5

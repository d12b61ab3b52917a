"""The torch engine scores what ONNX Runtime scores, from the same file; on a CPU, all but the recording of graphs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime
import pytest

from livemos.agent.bundle import Bundle, load_bundle
from livemos.agent.engine import make_engine
from livemos.agent.errors import EngineError

torch = pytest.importorskip("torch", reason="the extra [gpu] is not installed")

from livemos.agent.engine.torch_engine import TorchEngine, log_mel_plan  # noqa: E402 - after the check for torch
from livemos.agent.engine.torch_graph import TorchGraph  # noqa: E402
from livemos.agent.engine.torch_runners import PlainRunner  # noqa: E402
from livemos.agent.features import LogMel  # noqa: E402
from livemos.kernels.operators import log_mel  # noqa: E402


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle()


def heard(count: int) -> np.ndarray:
    """int16 segments: noise that is louder from row to row, so that rows differ."""
    rng = np.random.default_rng(0)
    level = np.linspace(200, 6_000, max(count, 1))[:count, None]
    return (level * rng.standard_normal((count, 16_000))).astype(np.int16)


@pytest.mark.parametrize("count", [0, 1, 5, 37])
def test_features_score_as_in_onnx_runtime(bundle: Bundle, count: int) -> None:
    """Two engines, one bundle: a score must not depend on the machine it came from."""
    features = bundle.manifest.features.build()(heard(count).astype(np.float32) / 32_768.0)
    expected = make_engine("onnxruntime", bundle).score(features)
    np.testing.assert_allclose(make_engine("torch", bundle).score(features), expected, atol=1e-4)


def test_int16_audio_scores_as_its_features_do(bundle: Bundle) -> None:
    """Upload of half the bytes, features on the device: the same numbers come back."""
    samples = heard(21)
    engine = TorchEngine(bundle, device="cpu")
    features = bundle.manifest.features.build()(samples.astype(np.float32) / 32_768.0)
    np.testing.assert_allclose(engine.score_audio(samples), engine.score(features), atol=1e-3)
    with pytest.raises(ValueError, match="int16"):
        engine.score_audio(samples.astype(np.float32))


def test_the_front_end_is_the_agents(bundle: Bundle) -> None:
    """Window and filters are the bundle's, not a second definition."""
    plan = log_mel_plan(LogMel(mel_bands=32, hop_samples=80))
    assert plan.bands == 32
    assert plan.frames(16_000) == LogMel(mel_bands=32, hop_samples=80).frames(16_000)


def test_an_operator_that_is_not_known_is_named(bundle: Bundle) -> None:
    """Skipping it would score something else."""
    model = onnx.load_from_string(bundle.graph)
    next(node for node in model.graph.node if node.op_type == "Sigmoid").op_type = "HardSwish"
    with pytest.raises(EngineError, match="HardSwish, which the torch engine does not know"):
        TorchGraph(model.SerializeToString())


def _one_output(nodes: list[onnx.NodeProto], **initializers: np.ndarray) -> bytes:
    shape = onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, ["B", 98, 64])
    outputs = onnx.helper.make_tensor_value_info("outputs", onnx.TensorProto.FLOAT, None)
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in initializers.items()]
    graph = onnx.helper.make_graph(nodes, "one", [shape], [outputs], weights)
    model: onnx.ModelProto = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10
    )
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("nodes", "initializers"),
    [
        ([("ReduceMean", ["features"], {"noop_with_empty_axes": 1})], {}),
        (
            [
                ("Shape", ["features"], {"start": 1, "end": 2}),
                ("Div", ["0", "three"], {}),
                ("Mul", ["1", "three"], {}),
                ("Slice", ["features", "zero", "2", "one"], {}),
            ],
            {"three": np.array([3]), "zero": np.array([0]), "one": np.array([1])},
        ),
    ],
    ids=["a reduction of nothing", "whole numbers divided"],
)
def test_an_operator_means_what_onnx_says(
    nodes: list[tuple[str, list[str], dict[str, int]]], initializers: dict[str, np.ndarray]
) -> None:
    """A graph that loads and computes something else is the worst that an engine can do."""
    made = [
        onnx.helper.make_node(kind, given, ["outputs" if step == len(nodes) - 1 else str(step)], **attributes)
        for step, (kind, given, attributes) in enumerate(nodes)
    ]
    graph = _one_output(made, **initializers)
    features = np.random.default_rng(0).normal(size=(2, 98, 64)).astype(np.float32)
    expected = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, {"features": features})
    np.testing.assert_allclose(TorchGraph(graph)(torch.from_numpy(features)).numpy(), expected[0], atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "index", "attributes"),
    [("Gather", np.array([[1]]), {"axis": 1}), ("Transpose", None, {})],
    ids=["a gather of rows", "a transpose without perm"],
)
def test_a_form_that_is_not_known_is_an_engine_error(
    kind: str, index: np.ndarray | None, attributes: dict[str, int]
) -> None:
    """One line for the operator, and no score that is shaped otherwise."""
    given = ["features"] if index is None else ["features", "index"]
    node = onnx.helper.make_node(kind, given, ["outputs"], **attributes)
    graph = TorchGraph(_one_output([node], **({} if index is None else {"index": index})))
    with pytest.raises(EngineError, match="not known"):
        graph(torch.zeros(2, 98, 64))


def test_a_batch_that_fails_is_an_engine_error(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline turns that into a reason; any other exception ends the scoring thread."""

    def fail(self: PlainRunner, slot: int, bucket: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory\nand much more")

    monkeypatch.setattr(PlainRunner, "start", fail)
    with pytest.raises(EngineError, match=r"failed on a batch of 1: CUDA out of memory$"):
        TorchEngine(bundle, device="cpu").score(np.zeros((1, 98, 64), np.float32))


def test_nothing_on_the_device_is_read_back_while_it_runs(bundle: Bundle) -> None:
    """A value that the host waits for breaks the recording of a CUDA graph; a meta tensor has none to give."""
    engine = TorchEngine(bundle, device="cpu")
    network, plan = engine._network.to("meta"), engine._plan.to("meta")
    samples = torch.zeros(8, 16_000, dtype=torch.int16, device="meta")
    with torch.inference_mode():
        outputs = network(log_mel(samples, plan))
    assert outputs.shape == (8, len(bundle.manifest.outputs))
    with pytest.raises(RuntimeError, match="meta"):
        _ = outputs.tolist()  # what would happen inside


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_cuda_device_that_is_not_there_is_refused(bundle: Bundle) -> None:
    """torch's own message is a page about drivers."""
    with pytest.raises(EngineError, match="none is here"):
        TorchEngine(bundle, device="cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
def test_recorded_graphs_score_as_plain_ones(bundle: Bundle) -> None:
    """Replays of every bucket against the CPU, lengths of the batch changing; waits for a GPU."""
    engine, plain = TorchEngine(bundle, device="cuda"), TorchEngine(bundle, device="cpu")
    for count in (1, 3, 40, 600, 3, 2_100):
        samples = heard(count)
        np.testing.assert_allclose(engine.score_audio(samples), plain.score_audio(samples), atol=1e-2)

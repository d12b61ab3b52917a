"""Half precision and 8 bits: the same network to a few hundredths of a MOS, or not in the bundle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch
from torch import Tensor, nn

from livemos.agent.bundle import Bundle
from livemos.agent.engine import make_engine
from livemos.agent.engine.torch_graph import TorchGraph
from livemos.agent.errors import BundleError, ConfigError
from livemos.agent.features import LogMel
from livemos.export import precisions
from livemos.export.calibration import CalibrationSpeech, calibration_speech
from livemos.export.parity import PARITY, difference, differences, features_of, fixed_audio, require_parity
from livemos.export.precisions import HALF, INT8, make_graphs, run_graph, run_network
from livemos.export.to_half import half_nodes, to_half
from livemos.export.to_int8 import to_int8
from livemos.export.to_onnx import require_folded, to_onnx
from livemos.kernels.operators import attentive_stats_pool

FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


class Pooled(nn.Module):
    """The smallest network with a product, a pooling and a head."""

    outputs = ("mos", "speech_ratio")

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.head = nn.Linear(32, 2)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, 64) -> (B, 2)."""
        frames = torch.tanh(self.first((features + 4.0) / 3.0))
        return 3.0 + torch.tanh(self.head(attentive_stats_pool(frames, frames[:, :, 0])))


@pytest.fixture(scope="module")
def network() -> Pooled:
    torch.manual_seed(3)
    return Pooled().eval()


@pytest.fixture(scope="module")
def graph(network: Pooled) -> bytes:
    return to_onnx(network, 98, 64)


def _types(graph: bytes) -> dict[str, int]:
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph), strict_mode=True, data_prop=True)
    values = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    return {value.name: value.type.tensor_type.elem_type for value in values}


def test_only_what_lies_between_products_and_pooling_is_half(network: Pooled, graph: bytes) -> None:
    """Normalisation, pooling and heads in half precision cost accuracy and gain nothing."""
    half = onnx.load_from_string(to_half(graph))
    types = _types(to_half(graph)) | {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    read = {node.op_type: [types[name] for name in node.input if name in types] for node in half.graph.node}
    assert set(read["MatMul"]) == {FLOAT16}
    assert read["Tanh"][0] == FLOAT  # the last Tanh of the file is the head's
    assert set(read["Div"]) == {FLOAT}
    assert read["AttentiveStatsPool"][:2] == [FLOAT, FLOAT]
    assert set(read["Gemm"]) == {FLOAT}
    features = features_of(fixed_audio(), LogMel())
    np.testing.assert_allclose(run_graph(to_half(graph), features), run_network(network, features), atol=5e-3)


def test_a_weight_that_half_precision_cannot_hold_is_refused(network: Pooled) -> None:
    """It would be infinite in the bundle, and every score with it."""
    large = Pooled()
    with torch.no_grad():
        large.first.weight[0, 0] = 1e5
    with pytest.raises(BundleError, match="larger than float16 holds"):
        to_half(to_onnx(large, 98, 64))


def test_int8_rows_do_not_depend_on_their_batch(graph: bytes, speech: CalibrationSpeech) -> None:
    """Scales that are taken from the batch make a call's score depend on a stranger's."""
    made = to_int8(graph, speech.setting)
    together = run_graph(made, speech.judging[:9])
    alone = np.concatenate([run_graph(made, speech.judging[k : k + 1]) for k in range(9)])
    np.testing.assert_array_equal(together, alone)
    quantised = onnx.load_from_string(made)
    assert {node.op_type for node in quantised.graph.node} >= {"QuantizeLinear", "DequantizeLinear"}
    assert not [node for node in quantised.graph.node if node.op_type == "DynamicQuantizeLinear"]
    assert all(node.domain == "" for node in quantised.graph.node)


def test_int8_weights_have_a_scale_a_channel_and_heads_stay_float(graph: bytes, speech: CalibrationSpeech) -> None:
    """One scale for all channels costs most of the accuracy; the head costs no time."""
    quantised = onnx.load_from_string(to_int8(graph, speech.setting))
    stored = {tensor.name: tensor for tensor in quantised.graph.initializer}
    signed = [name for name, tensor in stored.items() if tensor.data_type == onnx.TensorProto.INT8]
    scales = [node.input[1] for node in quantised.graph.node for name in signed if node.input and node.input[0] == name]
    assert [list(stored[scale].dims) for scale in scales] == [[16]]  # the first layer's output channels
    (gemm,) = [node for node in quantised.graph.node if node.op_type == "Gemm"]
    assert stored[gemm.input[1]].data_type == FLOAT


@pytest.fixture(scope="module")
def speech(recordings: Path) -> CalibrationSpeech:
    return calibration_speech(recordings, LogMel())


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    clean = Path(__file__).parent.parent.parent / "data" / "clean"
    for file in sorted(clean.glob("en-*.flac"))[:2]:
        (folder / file.name).symlink_to(file)
    return folder


def test_the_speech_that_judges_sets_no_scale(recordings: Path, speech: CalibrationSpeech) -> None:
    """A figure from the audio that tuned the thing is praise, not measurement."""
    assert speech.setting.shape[1:] == speech.judging.shape[1:] == (98, 64)
    seen = {row.tobytes() for row in speech.setting}
    assert len(seen) > 30
    assert not seen & {row.tobytes() for row in speech.judging}
    np.testing.assert_array_equal(calibration_speech(recordings, LogMel()).setting, speech.setting)


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    """Scales from nothing would quantise everything to nothing."""
    with pytest.raises(ConfigError, match="two or more"):
        calibration_speech(tmp_path, LogMel())


def test_recordings_that_cannot_be_used_are_told_in_one_line(tmp_path: Path) -> None:
    """A folder of one's own holds short and broken files; neither may end in a traceback, nor stand for a recording."""
    rng = np.random.default_rng(1)
    for name, seconds in (("a.wav", 2.0), ("b.wav", 0.5)):
        soundfile.write(tmp_path / name, 0.01 * rng.standard_normal(int(16_000 * seconds)), 16_000)
    with pytest.raises(ConfigError, match="has 1 wav or flac files of 1 s or more"):
        calibration_speech(tmp_path, LogMel())
    soundfile.write(tmp_path / "c.wav", 0.01 * rng.standard_normal(48_000), 16_000)
    speech = calibration_speech(tmp_path, LogMel())
    assert (len(speech.setting), len(speech.judging)) == (2 * 6, 3 * 6)
    (tmp_path / "d.wav").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"d\.wav cannot be read"):
        calibration_speech(tmp_path, LogMel())


def test_an_int8_graph_that_is_too_far_off_is_left_out_and_said(
    network: Pooled, graph: bytes, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A faster engine that scores otherwise is another model under the same name."""
    said: list[str] = []
    kept = make_graphs(network, graph, LogMel(), network.outputs, recordings, said.append)
    assert [spec.file for spec, _ in kept] == ["model.onnx", HALF, INT8]
    assert kept[2][0].speech_rms_mos is not None
    monkeypatch.setattr(precisions, "LIMIT_SPEECH_RMS_MOS", 1e-6)
    kept = make_graphs(network, graph, LogMel(), network.outputs, recordings, said.append)
    assert [spec.file for spec, _ in kept] == ["model.onnx", HALF]
    assert said[-1].startswith("no int8 graph")


def test_the_torch_engine_runs_both_graphs_in_their_own_types(network: Pooled, graph: bytes) -> None:
    """It reads the same files as ONNX Runtime: half where the graph says half, the node as our operator."""
    features = features_of(fixed_audio(), LogMel())
    with torch.inference_mode():
        whole, half = (TorchGraph(each)(torch.from_numpy(features)) for each in (graph, to_half(graph)))
    np.testing.assert_allclose(whole, run_network(network, features), atol=1e-5)
    assert half.dtype == torch.float32
    assert 0 < float((whole - half).abs().max()) < 5e-3


@pytest.mark.parametrize(
    ("precision", "off", "within"),
    [("fp32", 5e-5, True), ("fp32", 5e-3, False), ("fp16", 5e-3, True), ("fp16", 0.02, False), ("int8", 0.04, True),
     ("int8", 0.06, False), ("int8", float("nan"), False)],
)  # fmt: skip
def test_each_precision_has_its_limit(precision: str, off: float, within: bool) -> None:
    """0.05 MOS is the bound of int8; NaN is never within."""
    expected = np.full((5, 3), 3.0, np.float32)
    heard = expected + np.array([off, off, 0.0], np.float32)
    found = difference(precision, heard, expected, np.array([True, True, False]))
    assert found.is_within is within


def test_the_bundle_says_how_far_each_graph_is_and_the_engines_run_it(shipped: Bundle) -> None:
    """Who chooses int8 sees what it costs, in MOS, in the manifest."""
    recorded = json.loads(shipped.files[PARITY])["outputs"]
    features = features_of({name: fixed_audio()[name] for name in recorded}, LogMel())
    expected = np.array(list(recorded.values()), np.float32)
    assert set(shipped.manifest.graph_files()) == {spec.precision for spec in shipped.manifest.graphs} | {"fp32"}
    for spec in shipped.manifest.graphs:
        heard = make_engine(f"onnxruntime/{spec.precision}", shipped).score(features)
        mos = np.abs(heard - expected)[:, shipped.manifest.column("mos")]
        assert mos.max() <= spec.max_mos + 2e-3
        assert make_engine(f"onnxruntime/{spec.precision}", shipped).describe().precision == spec.precision
    assert [each.precision for each in differences(shipped)] == list(shipped.manifest.graph_files())
    require_parity(shipped)


def test_a_precision_that_a_bundle_lacks_is_said_with_those_it_has(shipped: Bundle) -> None:
    """The settings name an engine; the bundle decides which of them exist."""
    with pytest.raises(BundleError, match=r"no fp8 graph, only fp32"):
        make_engine("onnxruntime/fp8", shipped)


@pytest.fixture(scope="module")
def shipped(network: Pooled, graph: bytes, recordings: Path) -> Bundle:
    """A bundle as the exporter builds one, around the smallest network."""
    from livemos.export.bundle import ExportOptions, build_bundle

    class Named(Pooled):
        outputs = ("mos", "noisiness", "coloration", "discontinuity", "loudness", "speech_ratio", "mos_std")

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(32, 7)

    torch.manual_seed(5)
    facts = {
        "front_end": LogMel().parameters(), "sources": ["made up: CC0"], "minimum_speech_ratio": 0.3, "recipe": "tiny",
        "seed": 1, "steps": 3, "train_clips": 40, "clips": 16, "pearson": 0.5, "rmse": 0.9, "clean_bias": -0.1,
        "families_in_order_ratio": 0.8,
    }  # fmt: skip
    return build_bundle(Named().eval(), facts, ExportOptions(name="tiny", version="1", calibration=recordings))


def test_batch_norm_that_cannot_be_folded_is_refused() -> None:
    """Each one left is a pass over all frames for nothing."""
    with pytest.raises(BundleError, match="was not folded"):
        require_folded(
            onnx.helper.make_model(
                onnx.helper.make_graph(
                    [onnx.helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])], "g", [], []
                )
            )
        )


class Normalised(nn.Module):
    """Batch norm in front of a convolution over frames, with statistics as training leaves them."""

    def __init__(self, kernel_frames: int) -> None:
        super().__init__()
        self.batch_norm = nn.BatchNorm2d(64)
        self.convolution = nn.Conv2d(64, 5, (1, kernel_frames), padding=(0, kernel_frames // 2))
        with torch.no_grad():
            for values in (self.batch_norm.weight, self.batch_norm.bias, self.batch_norm.running_mean):
                values.normal_()
            self.batch_norm.running_var.uniform_(0.2, 3.0)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, 64) -> (B, 5)."""
        maps = features.transpose(1, 2)[:, :, None]
        return self.convolution(self.batch_norm(maps)).mean(dim=(2, 3))


def test_batch_norm_in_front_of_a_pointwise_convolution_moves_into_its_weights() -> None:
    """The attention layer of the residual network normalises first; a wide kernel pads with zeros and cannot."""
    torch.manual_seed(7)
    model = Normalised(kernel_frames=1).eval()
    features = torch.randn(3, 98, 64)
    folded = to_onnx(model, 98, 64)
    kinds = [node.op_type for node in onnx.load_from_string(folded).graph.node]
    assert "BatchNormalization" not in kinds
    with torch.no_grad():
        np.testing.assert_allclose(run_graph(folded, features.numpy()), model(features).numpy(), atol=2e-6)
    with pytest.raises(BundleError, match="in front of a pointwise convolution"):
        to_onnx(Normalised(kernel_frames=3).eval(), 98, 64)


def test_nothing_behind_the_pooling_counts_as_half(graph: bytes) -> None:
    """The rule in one place: products to pooling."""
    model = onnx.load_from_string(graph)
    names = {node.output[0]: node.op_type for node in model.graph.node}
    chosen = [names[name] for name in half_nodes(model)]
    assert "MatMul" in chosen
    assert "Gemm" not in chosen
    assert "AttentiveStatsPool" not in chosen

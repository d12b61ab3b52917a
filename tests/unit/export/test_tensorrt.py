"""Plans are built without a GPU, are the same twice, and say in one line why they cannot be had."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from livemos.agent.engine.plans import PlanCache, PlanSettings, read_plan, sha256_of
from livemos.agent.engine.tensorrt_engine import load_plan
from livemos.agent.errors import EngineError, MissingExtraError
from livemos.export import asp_plugin
from livemos.export.tensorrt_toolkits import TensorRt, TensorRtRtx, logger_of
from livemos.export.to_half import to_half
from livemos.export.to_onnx import pooling_nodes, to_onnx, without_functions
from livemos.export.to_tensorrt import build_plan, plan_settings
from livemos.kernels.operators import attentive_stats_pool

tensorrt_rtx = pytest.importorskip("tensorrt_rtx", reason="the extra [tensorrt-rtx] is not installed")
SHAPE = (12, 16)


class Pooled(nn.Module):
    """The smallest network that has all a plan has to take: products, pooling, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 32)
        self.head = nn.Linear(64, 3)

    def forward(self, features: Tensor) -> Tensor:
        """(B, 12, 16) -> (B, 3)."""
        frames = torch.tanh(self.first(features))
        return torch.sigmoid(self.head(attentive_stats_pool(frames, frames[:, :, 0])))


@pytest.fixture(scope="module")
def graph() -> bytes:
    torch.manual_seed(1)
    return to_onnx(Pooled(), *SHAPE)


@pytest.fixture(scope="module")
def settings() -> PlanSettings:
    return plan_settings(TensorRtRtx(), "fp32")


@pytest.fixture(scope="module")
def plan(graph: bytes, settings: PlanSettings) -> bytes:
    return build_plan(TensorRtRtx(), graph, settings, SHAPE)


def test_a_plan_is_built_without_a_gpu_and_is_the_same_twice(plan: bytes, graph: bytes, settings: PlanSettings) -> None:
    """Plans ship with releases; two builds that differ cannot be checked by anybody."""
    assert settings.compute_capabilities == ("8.0", "8.6", "8.9", "12.0")
    assert len(plan) > 10_000
    assert sha256_of(build_plan(TensorRtRtx(), graph, settings, SHAPE)) == sha256_of(plan)


def test_half_precision_comes_from_the_types_of_the_graph(plan: bytes, graph: bytes, settings: PlanSettings) -> None:
    """The builder has no switch for it: strongly typed means that the graph decides."""
    assert build_plan(TensorRtRtx(), to_half(graph), settings, SHAPE) != plan


def test_tf32_changes_the_plan_and_is_off(
    plan: bytes, graph: bytes, settings: PlanSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On is the builder's default; three decimal digits are not enough for a product over log-mel."""
    cleared: list[Any] = []

    class Config:
        def clear_flag(self, flag: Any) -> None:
            cleared.append(flag)

        def __setattr__(self, name: str, value: Any) -> None:
            pass

        def set_compute_capability(self, capability: Any, index: int) -> None:
            pass

        def add_optimization_profile(self, profile: Any) -> None:
            pass

    from livemos.export import to_tensorrt

    class Builder:
        def create_builder_config(self) -> Config:
            return Config()

        def create_optimization_profile(self) -> Any:
            return tensorrt_rtx.Builder(logger_of(tensorrt_rtx)[0]).create_optimization_profile()

    to_tensorrt._config(TensorRtRtx(), tensorrt_rtx, Builder(), settings, SHAPE)
    assert cleared == [tensorrt_rtx.BuilderFlag.TF32]


def with_an_unknown_operator(graph: bytes) -> bytes:
    model = onnx.load_from_string(graph)
    next(node for node in model.graph.node if node.op_type == "Tanh").op_type = "Hyperbole"
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda graph: b"", "the graph is empty; export the bundle again"),
        (lambda graph: graph[: len(graph) // 2], "the graph is damaged"),
        (without_functions, "without its function.*livemos export --checkpoint"),
        (with_an_unknown_operator, "does not take the graph: .*"),
    ],
    ids=["empty", "truncated", "no function", "unknown operator"],
)
def test_a_graph_that_cannot_be_built_is_one_clear_error(
    graph: bytes, settings: PlanSettings, change: Callable[[bytes], bytes], says: str
) -> None:
    """Its parser takes an empty file for a network, and names a missing function a missing plugin."""
    with pytest.raises(EngineError, match=says) as refused:
        build_plan(TensorRtRtx(), change(graph), settings, SHAPE)
    assert "\n" not in str(refused.value)


def test_a_build_without_a_profile_says_what_the_builder_said(graph: bytes, settings: PlanSettings) -> None:
    """The builder answers None; the reason is in its log alone."""
    from dataclasses import replace

    with pytest.raises(EngineError, match=r"built no plan: .*no optimization profile has been defined"):
        build_plan(TensorRtRtx(), graph, replace(settings, buckets=()), SHAPE)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_machine_without_a_driver_says_so_and_names_the_command(plan: bytes, settings: PlanSettings) -> None:
    """The runtime answers None here, too."""
    with pytest.raises(EngineError, match=r"CUDA driver version is insufficient.*livemos export --plans b\.livemos"):
        load_plan(tensorrt_rtx, _logger(), plan, settings, origin="x.plan", rebuild="livemos export --plans b.livemos")


def _logger() -> Any:
    from livemos.agent.engine.tensorrt_engine import _logger as make

    return make(tensorrt_rtx)


def test_a_plan_with_other_profiles_is_refused_when_it_is_loaded(settings: PlanSettings) -> None:
    """A batch without its profile fails inside the runtime, without a word."""

    @dataclass
    class Loaded:
        num_optimization_profiles: int = 1

    class Module:
        class Runtime:
            def __init__(self, logger: Any) -> None:
                pass

            def deserialize_cuda_engine(self, plan: bytes) -> Loaded:
                return Loaded()

    with pytest.raises(EngineError, match="1 profiles instead of 3; build it again with: livemos export --plans b"):
        load_plan(Module, None, b"", settings, origin="x.plan", rebuild="livemos export --plans b")


def test_a_plan_goes_through_the_cache_whole(plan: bytes, graph: bytes, settings: PlanSettings, tmp_path: Path) -> None:
    """What is read back is what the builder gave."""
    cache = PlanCache(tmp_path)
    path, built = cache.get_or_build(sha256_of(graph), settings, lambda: plan, rebuild="")
    assert built
    assert read_plan(path, sha256_of(graph), settings, device="8.9", rebuild="") == plan


def test_without_the_extra_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """[export] alone does not bring it."""
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'livemos\[tensorrt-rtx\]'"):
        TensorRtRtx().module()


def test_tensorrt_itself_is_optional_and_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its wheel on the public index is a placeholder that cannot be imported."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match="NVIDIA's own package index"):
        TensorRt().module()
    old = ModuleType("tensorrt")
    old.__version__ = "10.8.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", old)
    with pytest.raises(EngineError, match=r"10\.8\.0 is too old"):
        TensorRt().module()


@dataclass
class Desc:
    """TensorRT's description of a tensor, as far as the plugin looks."""

    shape_expr: tuple[int, ...] = ()

    def like(self) -> Desc:
        return Desc(self.shape_expr)


@dataclass
class Plugin:
    """tensorrt.plugin, as far as it is used; what is registered is kept."""

    registered: dict[str, Any] = field(default_factory=dict)
    TensorDesc: type = Desc
    SymExprs: type = list
    SymInt32: type = int

    class KernelLaunchParams:
        grid_x = grid_y = block_x = shared_mem = 0

    @staticmethod
    def SymIntExprs(count: int) -> list[int]:  # noqa: N802
        return [0] * count

    @staticmethod
    def cdiv(value: int, by: int) -> int:
        return -(-value // by)

    def register(self, name: str) -> Callable[[Any], Any]:
        return lambda function: self.registered.setdefault(name, function)

    def aot_impl(self, name: str) -> Callable[[Any], Any]:
        return lambda function: self.registered.setdefault(f"{name} ahead of time", function)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugin]:
    """The kernel's own compilation has its test beside the kernels; this is what surrounds it."""
    made = Plugin()
    monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))
    monkeypatch.setitem(sys.modules, "tensorrt.plugin", made)
    monkeypatch.setattr(
        asp_plugin, "plugin_kernel", lambda epsilon: asp_plugin_kernel(entry="asp", ptx="text", shared_bytes=512)
    )
    asp_plugin.register_plugin.cache_clear()
    yield made
    asp_plugin.register_plugin.cache_clear()


def asp_plugin_kernel(**facts: Any) -> Any:
    from livemos.kernels.asp.plugin_kernel import PluginKernel

    return PluginKernel(**facts)


def test_the_graph_for_tensorrt_has_the_node_and_its_plugin_but_no_function(plugin: Plugin, graph: bytes) -> None:
    """A function wins over a plugin of the same name."""
    prepared = onnx.load_from_string(TensorRt().prepare(graph))
    assert not prepared.functions
    assert len(pooling_nodes(prepared)) == 1
    assert list(plugin.registered) == ["livemos::AttentiveStatsPool", "livemos::AttentiveStatsPool ahead of time"]


def test_the_plugin_launches_a_program_a_row_and_block_with_strides_from_the_shape(plugin: Plugin) -> None:
    """TensorRT passes packed tensors and no strides; a wrong one reads another call's frames."""
    TensorRt().prepare(to_onnx(Pooled(), *SHAPE))
    describe = plugin.registered["livemos::AttentiveStatsPool"]
    launch = plugin.registered["livemos::AttentiveStatsPool ahead of time"]
    h, e, lengths = Desc((7, 25, 96)), Desc((7, 25)), Desc((7,))
    assert describe(h, e, lengths, 1e-6).shape_expr == (7, 192)
    entry, ptx, parameters, numbers = launch(h, e, lengths, 1e-6, (), 0)
    assert (entry, ptx) == ("asp", "text")
    assert (parameters.grid_x, parameters.grid_y, parameters.block_x, parameters.shared_mem) == (7, 2, 128, 512)
    assert numbers == [25, 96, 25 * 96, 96, 25, 1]

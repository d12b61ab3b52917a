"""Plans of TensorRT for RTX and of TensorRT from a bundle, kept in a cache by what decides their content."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livemos.agent.bundle import Bundle
from livemos.agent.engine.plans import PlanCache, PlanSettings, sha256_of
from livemos.agent.errors import EngineError
from livemos.export.tensorrt_toolkits import TOOLKITS, Toolkit, logger_of
from livemos.export.to_onnx import INPUT

PRECISIONS = ("fp32", "fp16")  # int8 here is ONNX Runtime's, whose biases these parsers refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltPlan:
    """A plan in the cache; seconds: of building, 0 where it was there already."""

    path: Path
    precision: str
    plan_bytes: int
    seconds: float


def plan_settings(toolkit: Toolkit, precision: str) -> PlanSettings:
    """The settings of a plan built here. Raises what the toolkit raises."""
    return PlanSettings(
        runtime=toolkit.name,
        version=str(toolkit.module().__version__),
        precision=precision,
        compute_capabilities=toolkit.compute_capabilities(),
    )


def build_plan(toolkit: Toolkit, graph: bytes, settings: PlanSettings, shape: tuple[int, int]) -> bytes:
    """A serialised plan for features (B, *shape). Raises EngineError with what the toolkit said."""
    if not graph:
        raise EngineError("the graph is empty; export the bundle again")  # its parser takes it for a network
    trt = toolkit.module()
    logger, messages = logger_of(trt)
    messages.take()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(toolkit.prepare(graph)):
        said = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise EngineError(_refusal(toolkit, "does not take the graph", said + messages.take()))
    plan = builder.build_serialized_network(network, _config(toolkit, trt, builder, settings, shape))
    if plan is None:
        raise EngineError(_refusal(toolkit, "built no plan", messages.take()))
    return bytes(plan)


def _config(toolkit: Toolkit, trt: Any, builder: Any, settings: PlanSettings, shape: tuple[int, int]) -> Any:
    config = builder.create_builder_config()
    if not settings.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default, and then a product keeps three decimal digits
    toolkit.configure(config, settings)
    for low, high in settings.profiles():
        profile = builder.create_optimization_profile()
        profile.set_shape(INPUT, (low, *shape), (high, *shape), (high, *shape))
        config.add_optimization_profile(profile)
    return config


def _refusal(toolkit: Toolkit, what: str, said: list[str]) -> str:
    # a missing driver is told beside every refusal of a machine without a GPU, and is never the cause
    telling = [line for line in said if "cudaError 35" not in line] or said
    return f"{toolkit.name} {toolkit.module().__version__} {what}: {telling[-1] if telling else 'it did not say why'}"


def build_plans(
    bundle: Bundle, cache: PlanCache, *, toolkit: str = "tensorrt-rtx", report: Callable[[str], None] = lambda _: None
) -> list[BuiltPlan]:
    """The bundle's plans in the precisions it has, built where the cache lacks them. Raises EngineError."""
    tool = TOOLKITS[toolkit]
    features = bundle.manifest.features.build()
    shape = (features.frames(bundle.manifest.segment_samples), features.mel_bands)
    built = []
    for precision in (name for name in PRECISIONS if name in bundle.manifest.graph_files()):
        graph = bundle.graph_of(precision)
        settings = plan_settings(tool, precision)
        report(f"{precision} plan for {', '.join(settings.compute_capabilities)}")
        started = time.perf_counter()
        path, now = cache.get_or_build(
            sha256_of(graph),
            settings,
            lambda graph=graph, settings=settings: build_plan(tool, graph, settings, shape),  # type: ignore[misc]
            rebuild=f"livemos export --plans {bundle.origin}",
        )
        seconds = time.perf_counter() - started if now else 0.0
        built.append(BuiltPlan(path=path, precision=precision, plan_bytes=path.stat().st_size, seconds=seconds))
    return built

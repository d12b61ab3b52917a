"""The engines by name. To add one: a file beside this one and a line here (CONTRIBUTING.md)."""

from __future__ import annotations

from collections.abc import Callable

from livemos.agent.bundle import Bundle
from livemos.agent.engine.base import Engine
from livemos.agent.engine.constant_engine import ConstantEngine
from livemos.agent.engine.onnx_engine import OnnxEngine
from livemos.agent.errors import ConfigError

EngineFactory = Callable[..., Engine]

ENGINES: dict[str, EngineFactory] = {
    "onnxruntime": OnnxEngine,
    "constant": ConstantEngine,
}


def make_engine(name: str, bundle: Bundle, *, threads: int = 1) -> Engine:
    """The engine `name`, bundle loaded. Raises ConfigError for an unknown name, EngineError from the runtime."""
    if name not in ENGINES:
        raise ConfigError(f"engine {name!r} is unknown; choose one of: {', '.join(sorted(ENGINES))}")
    return ENGINES[name](bundle, threads=threads)

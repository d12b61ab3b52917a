"""The pooling node as a plugin of TensorRT 10.9 and later, from the Triton kernel. Built, not executed.

TensorRT's names for it: quickly deployable plugin, `register` for shapes and `aot_impl` for the kernel. Attributes are
not kept in a plan, so epsilon is compiled in.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from livemos.kernels.asp.onnx_node import DOMAIN, NODE
from livemos.kernels.asp.plugin_kernel import BLOCK_D, WARPS, plugin_kernel

NAME = f"{DOMAIN}::{NODE}"


def describe_output(h: Any, _e: Any, _lengths: Any, _epsilon: float) -> Any:
    """(B, T, D) -> (B, 2 D), in the type of h."""
    pooled = h.like()
    pooled.shape_expr = type(h.shape_expr)((h.shape_expr[0], h.shape_expr[2] * 2))
    return pooled


def launch(plugin: Any, h: Any, epsilon: float) -> tuple[str, str, Any, Any]:
    """Entry, PTX, launch parameters and numbers of one call; `plugin` is tensorrt.plugin."""
    kernel = plugin_kernel(epsilon)
    batch, frames, channels = (h.shape_expr[axis] for axis in range(3))
    parameters = plugin.KernelLaunchParams()
    parameters.grid_x, parameters.grid_y = batch, plugin.cdiv(channels, BLOCK_D)
    parameters.block_x = 32 * WARPS
    parameters.shared_mem = kernel.shared_bytes
    values = (frames, channels, frames * channels, channels, frames, 1)
    numbers = plugin.SymIntExprs(len(values))
    for index, value in enumerate(values):
        numbers[index] = plugin.SymInt32(value)
    return kernel.entry, kernel.ptx, parameters, numbers


@cache  # a name can be registered once in a process
def register_plugin() -> None:
    """Make the node known to TensorRT. Raises ImportError where it has no such plugins."""
    plugin = import_module("tensorrt.plugin")
    desc = plugin.TensorDesc

    def shapes(h, e, lengths, epsilon):  # type: ignore[no-untyped-def]  # annotated below, with TensorRT's own types
        return describe_output(h, e, lengths, epsilon)

    def ahead_of_time(h, e, lengths, epsilon, outputs, tactic):  # type: ignore[no-untyped-def]
        return launch(plugin, h, epsilon)

    shapes.__annotations__ = {"h": desc, "e": desc, "lengths": desc, "epsilon": float, "return": desc}
    text = str | bytes
    outputs: Any = tuple.__class_getitem__(desc)
    launched: Any = tuple.__class_getitem__((text, text, plugin.KernelLaunchParams, plugin.SymExprs))
    ahead_of_time.__annotations__ = {
        **shapes.__annotations__,
        "outputs": outputs,
        "tactic": int,
        "return": launched,
    }
    plugin.register(NAME)(shapes)
    plugin.aot_impl(NAME)(ahead_of_time)

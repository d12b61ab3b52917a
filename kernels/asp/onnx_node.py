"""Attentive statistics pooling as one ONNX node, where an export asks for it.

An exporter takes the definition apart into a dozen operators. As one node `livemos::AttentiveStatsPool` it can be given
to a kernel; who writes the file adds the function of that name for runtimes that have none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

DOMAIN, NODE, VERSION = "livemos", "AttentiveStatsPool", 1
_WANTED = ContextVar("pooling_as_one_node", default=False)


@contextmanager
def pooling_as_one_node() -> Iterator[None]:
    """While it is open, an ONNX export keeps each pooling as one node; only for who adds the function."""
    token = _WANTED.set(True)
    try:
        yield
    finally:
        _WANTED.reset(token)


def node_is_wanted() -> bool:
    """Whether an ONNX export runs that asked for the node."""
    return torch.onnx.is_in_onnx_export() and _WANTED.get()


def symbolic_pool(h: Tensor, e: Tensor, lengths: Tensor | None, epsilon: float) -> Tensor:
    """The node in a graph that is being exported; shapes and types as `asp_reference`, values none."""
    if lengths is None:
        lengths = torch.full((h.shape[0],), h.shape[1], dtype=torch.int32, device=h.device)
    pooled: Tensor = torch.onnx.ops.symbolic(
        f"{DOMAIN}::{NODE}",
        (h.to(torch.float32), e.to(torch.float32), lengths.to(torch.int32)),
        {"epsilon": epsilon},
        dtype=torch.float32,
        shape=(h.shape[0], 2 * h.shape[2]),
        version=VERSION,
    )
    return pooled

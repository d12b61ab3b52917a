"""What makes several processes one: batches are cut by family, batch statistics and losses are taken over all of them.

Each process sends its own clips through the network; outputs, which are small, are put together, so that every
process knows the loss of the whole batch. Averaging the gradients afterwards (torch's DDP) gives the gradient that one
process would have found, up to rounding. Plain batch normalisation would not: each process would see its own share.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _SumOverRanks(torch.autograd.Function):
    """Sum over all processes, of values and of gradients alike."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


def sum_over_ranks(values: Tensor) -> Tensor:
    """The same shape, the same on every process; `backward` reaches all of them."""
    total: Tensor = _SumOverRanks.apply(values)  # type: ignore[no-untyped-call]
    return total


def share(rows: Tensor, rank: int, ranks: int) -> Tensor:
    """(N, ...) -> (N / ranks, ...), the consecutive rows of one process."""
    return rows[len(rows) // ranks * rank : len(rows) // ranks * (rank + 1)]


def together(rows: Tensor, rank: int, ranks: int) -> Tensor:
    """(N / ranks, ...) of each process -> (N, ...) in order of rank; the opposite of `share`."""
    if ranks == 1:
        return rows
    before, after = len(rows) * rank, len(rows) * (ranks - 1 - rank)
    empty = [0, 0] * (rows.ndim - 1)
    return sum_over_ranks(nn.functional.pad(rows, [*empty, before, after]))


class BatchNormOverRanks(_BatchNorm):
    """Batch normalisation with the statistics of all processes; as torch's own when it is not training.

    torch.nn.SyncBatchNorm does the same on GPUs alone.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"batch normalisation needs (B, C, ...), got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, ...) -> the same shape."""
        if not self.training:
            return super().forward(input)
        values = input.float()
        others = [axis for axis in range(values.ndim) if axis != 1]
        count = values.numel() // values.shape[1] * distributed.get_world_size()
        column = [1, -1] + [1] * (values.ndim - 2)
        mean = sum_over_ranks(values.sum(others)) / count  # (C,)
        centred = values - mean.reshape(column)
        variance = sum_over_ranks(centred.square().sum(others)) / count
        self._keep(mean.detach(), variance.detach() * count / (count - 1))
        normed = centred * torch.rsqrt(variance + self.eps).reshape(column)
        return (normed * self.weight.reshape(column) + self.bias.reshape(column)).to(input.dtype)

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum or 0.0)
        self.running_var.lerp_(variance, self.momentum or 0.0)


def normalise_over_ranks(module: nn.Module) -> None:
    """Replace every batch normalisation inside `module`; weights, buffers and their names stay."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            wide = BatchNormOverRanks(child.num_features, child.eps, child.momentum)
            wide.weight, wide.bias = child.weight, child.bias
            wide.running_mean, wide.running_var = child.running_mean, child.running_var
            wide.num_batches_tracked = child.num_batches_tracked
            setattr(module, name, wide)
        else:
            normalise_over_ranks(child)

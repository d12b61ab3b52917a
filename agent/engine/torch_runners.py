"""Runners of a torch program: plainly on a CPU, or as CUDA graphs with copies beside the computing.

The CUDA part is built, not executed (docs/gpu.md); all around it is `Bucketed`, which the plain runner tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from livemos.agent.engine.base import Outputs
from livemos.agent.engine.bucketed import Rows

Program = Callable[[Tensor], Tensor]
_WARM_UP_CALLS = 3  # compiles the Triton kernels, picks the library's algorithms, fills the allocator


class PlainRunner:
    """Runs at `start`, in the thread that calls. For CPUs."""

    slots = 2

    def __init__(self, program: Program, row: tuple[int, ...], dtype: torch.dtype, buckets: tuple[int, ...]) -> None:
        self._program = program
        self._given = [torch.zeros((buckets[-1], *row), dtype=dtype) for _ in range(self.slots)]
        self._made: list[Outputs | None] = [None] * self.slots

    def buffer(self, slot: int) -> Rows:
        """(largest bucket, *row)."""
        rows: Rows = self._given[slot].numpy()
        return rows

    def start(self, slot: int, bucket: int) -> None:
        """Runs the program."""
        with torch.inference_mode():
            self._made[slot] = self._program(self._given[slot][:bucket]).numpy()

    def finish(self, slot: int) -> Outputs:
        """(bucket, K) of the last start. RuntimeError where there was none."""
        made, self._made[slot] = self._made[slot], None
        if made is None:
            raise RuntimeError(f"slot {slot} was not started")
        return made


class CudaGraphRunner:
    """A CUDA graph for each slot and bucket; one stream copies, one computes, pinned memory on both ends."""

    slots = 2

    def __init__(self, program: Program, row: tuple[int, ...], dtype: torch.dtype, buckets: tuple[int, ...]) -> None:
        """Records every graph, the largest first, in one pool of memory."""
        shape = (buckets[-1], *row)
        self._host = [torch.zeros(shape, dtype=dtype, pin_memory=True) for _ in range(self.slots)]
        self._given = [torch.zeros(shape, dtype=dtype, device="cuda") for _ in range(self.slots)]
        # torch has no types for streams and events
        self._copying, self._computing = torch.cuda.Stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._copied = [torch.cuda.Event() for _ in range(self.slots)]  # type: ignore[no-untyped-call]
        self._done = [torch.cuda.Event() for _ in range(self.slots)]  # type: ignore[no-untyped-call]
        self._graphs: dict[tuple[int, int], tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self._bucket = [buckets[-1]] * self.slots
        pool = None
        for bucket in sorted(buckets, reverse=True):
            for slot in range(self.slots):
                self._graphs[slot, bucket] = self._record(program, self._given[slot][:bucket], pool)
                pool = self._graphs[slot, bucket][0].pool()
        columns = self._graphs[0, buckets[-1]][1].shape[1]
        self._made = [torch.zeros((buckets[-1], columns), pin_memory=True) for _ in range(self.slots)]

    def _record(self, program: Program, given: Tensor, pool: Any | None) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        self._computing.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._computing), torch.inference_mode():
            for _ in range(_WARM_UP_CALLS):
                program(given)
        torch.cuda.current_stream().wait_stream(self._computing)
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph, pool=pool, stream=self._computing):
            made = program(given)
        return graph, made

    def buffer(self, slot: int) -> Rows:
        """(largest bucket, *row) pinned."""
        rows: Rows = self._host[slot].numpy()
        return rows

    def start(self, slot: int, bucket: int) -> None:
        """Queue the upload, the graph and the way back; returns at once."""
        graph, made = self._graphs[slot, bucket]
        self._bucket[slot] = bucket
        with torch.cuda.stream(self._copying):
            self._given[slot][:bucket].copy_(self._host[slot][:bucket], non_blocking=True)
            self._copied[slot].record(self._copying)
        with torch.cuda.stream(self._computing):
            self._computing.wait_event(self._copied[slot])
            graph.replay()
            # results of a few kB: a way back on the other stream would wait behind the next upload
            self._made[slot][:bucket].copy_(made, non_blocking=True)
            self._done[slot].record(self._computing)

    def finish(self, slot: int) -> Outputs:
        """Waits for the slot alone."""
        self._done[slot].synchronize()
        outputs: Outputs = self._made[slot][: self._bucket[slot]].numpy()
        return outputs

"""The kernels on a real GPU: the same cases as under the interpreter, in hardware's own arithmetic."""

from __future__ import annotations

import pytest
import torch

from livemos.kernels.benchmarks.registry import BENCHMARKS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here"),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_results_and_gradients_agree_on_a_gpu(dtype: torch.dtype) -> None:
    """A GPU's exp is an approximation, and its compiler fuses what the interpreter does not."""
    from livemos.kernels.benchmarks.asp_agreement import measure
    from livemos.kernels.benchmarks.asp_cases import awkward_cases

    limit = {torch.float32: 2e-5, torch.float16: 1e-3, torch.bfloat16: 1e-2}[dtype]
    for case in awkward_cases():
        errors = measure(case, dtype, "cuda")
        assert errors.finite and errors.padding_is_zero, case.name
        assert max(errors.mean, errors.deviation) <= 5e-6, (case.name, errors)
        assert errors.worst <= limit, (case.name, errors)


@pytest.mark.parametrize("operator", BENCHMARKS)
def test_what_is_timed_computes_the_same_on_a_gpu(operator: str) -> None:
    """The timed sizes are larger than the cases: addresses past 2**31 only appear there."""
    benchmark = BENCHMARKS[operator]
    work = benchmark.prepare(benchmark.sizes[-1], benchmark.dtypes[0], torch.device("cuda"))
    torch.testing.assert_close(work.fused(), work.reference(), atol=5e-3, rtol=1e-3)

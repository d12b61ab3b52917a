"""The definition of attentive statistics pooling, against arithmetic done by hand and in double precision."""

from __future__ import annotations

import math
from importlib.util import find_spec

import pytest
import torch

from livemos.kernels.asp.reference import EPSILON, asp_reference
from livemos.kernels.operators import attentive_stats_pool, describe_dispatch


def test_equal_scores_give_the_plain_mean_and_deviation() -> None:
    """The one case anybody can check with a pencil: 1, 2, 3, 6 have mean 3 and variance 3.5."""
    h = torch.tensor([[[1.0], [2.0], [3.0], [6.0]]])
    pooled = asp_reference(h, torch.zeros(1, 4))
    assert pooled.tolist() == [[pytest.approx(3.0), pytest.approx(math.sqrt(3.5 + EPSILON))]]


def test_a_score_is_the_logarithm_of_a_weight() -> None:
    """Weights 3 and 1 on 0 and 4: mean 1, variance 3; a softmax over channels or a missing exp would not give it."""
    h = torch.tensor([[[0.0], [4.0]]])
    pooled = asp_reference(h, torch.tensor([[math.log(3.0), 0.0]]))
    assert pooled.tolist() == [[pytest.approx(1.0), pytest.approx(math.sqrt(3.0 + EPSILON))]]


def test_frames_behind_the_length_do_not_exist_even_as_nan() -> None:
    """Batches are padded; what stands in the padding must not matter, not even through 0 * NaN."""
    torch.manual_seed(0)
    h, e = torch.randn(3, 9, 5), torch.randn(3, 9)
    lengths = torch.tensor([9, 4, 1])
    poisoned_h, poisoned_e = h.clone(), e.clone()
    for row, length in enumerate(lengths.tolist()):
        poisoned_h[row, length:] = torch.nan
        poisoned_e[row, length:] = torch.nan
    pooled = asp_reference(poisoned_h, poisoned_e, lengths)
    each = torch.cat([asp_reference(h[k : k + 1, :n], e[k : k + 1, :n]) for k, n in enumerate(lengths.tolist())])
    torch.testing.assert_close(pooled, each)


def test_a_row_without_frames_gives_zeros() -> None:
    """Padded rows of a batch are harmless only if they come out finite."""
    pooled = asp_reference(torch.full((2, 4, 3), torch.nan), torch.zeros(2, 4), torch.tensor([0, 0]))
    assert torch.equal(pooled, torch.zeros(2, 6))


def test_scores_of_minus_infinity_everywhere_give_zeros() -> None:
    """exp(-inf - -inf) is NaN; the definition says such a row has seen nothing."""
    pooled = asp_reference(torch.ones(1, 3, 2), torch.full((1, 3), -torch.inf))
    assert torch.equal(pooled, torch.zeros(1, 4))


@pytest.mark.parametrize("offset", [0.0, 100.0, 1000.0])
def test_single_precision_agrees_with_double_far_from_zero(offset: float) -> None:
    """E[x^2] - mean^2 is off by 4e-2 at an offset of 100, so the limit fails that formula by four decades."""
    torch.manual_seed(1)
    h, e = torch.randn(4, 98, 72) + offset, torch.randn(4, 98)
    lengths = torch.tensor([98, 50, 7, 2])
    single = asp_reference(h, e, lengths)
    double = asp_reference(h.double(), e.double(), lengths)
    assert single.dtype == torch.float32
    assert (single - double)[:, 72:].abs().max() < 5e-6
    assert (single - double)[:, :72].abs().max() < 2e-6 * max(1.0, offset)


def test_constant_frames_have_no_deviation_of_their_own() -> None:
    """A rounded mean makes 1000.3 look as if it moved; only the corrected second pass sees that it does not."""
    torch.manual_seed(3)
    pooled = asp_reference(torch.full((1, 98, 4), 1000.3), torch.randn(1, 98), epsilon=1e-12)
    torch.testing.assert_close(pooled[:, 4:], torch.full((1, 4), 1e-6), atol=1e-6, rtol=0.0)


def test_large_scores_do_not_overflow() -> None:
    """exp of a raw score overflows float32 above 88."""
    pooled = asp_reference(torch.tensor([[[1.0], [5.0]]]), torch.tensor([[1000.0, 990.0]]))
    assert torch.isfinite(pooled).all()
    assert pooled[0, 0] < 1.001


def test_gradients_agree_with_finite_differences() -> None:
    """The reference is what trains on a CPU; autograd goes through it."""
    torch.manual_seed(2)
    h = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    e = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: asp_reference(a, b, torch.tensor([5, 3])), (h, e))


def test_constant_frames_have_a_finite_gradient() -> None:
    """The root of zero has none; epsilon under it is there for this."""
    h = torch.full((1, 6, 2), 100.3, requires_grad=True)
    asp_reference(h, torch.zeros(1, 6)).sum().backward()
    assert h.grad is not None
    assert torch.isfinite(h.grad).all()


def test_the_operator_says_that_the_reference_runs_on_a_cpu() -> None:
    """Who compares speeds must know which code ran."""
    assert describe_dispatch("cpu").implementation == "reference"
    assert describe_dispatch("cuda").implementation == ("triton" if find_spec("triton") else "reference")
    assert "reference on cpu" in str(describe_dispatch("cpu"))
    h, e = torch.randn(2, 4, 3), torch.randn(2, 4)
    assert torch.equal(attentive_stats_pool(h, e), asp_reference(h, e))

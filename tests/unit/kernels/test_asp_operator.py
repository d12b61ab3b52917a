"""What torch sees of statistics pooling: one operator with a shape rule and a gradient, whoever computes it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from livemos.kernels.asp.custom_ops import asp
from livemos.kernels.asp.reference import EPSILON, asp_backward_reference, asp_reference, asp_reference_with_state


def _inputs(dtype: torch.dtype, per_channel: bool) -> tuple[Tensor, Tensor, Tensor]:
    made = torch.Generator().manual_seed(5)
    h = torch.randn(3, 6, 4, generator=made, dtype=torch.float64).to(dtype)
    e = torch.randn((3, 6, 4) if per_channel else (3, 6), generator=made, dtype=torch.float64).to(dtype)
    return h, e, torch.tensor([6, 3, 0])


class Pool(nn.Module):
    """The smallest module that calls the operator."""

    def forward(self, h: Tensor, e: Tensor, lengths: Tensor) -> Tensor:
        pooled: Tensor = asp(h, e, lengths, EPSILON, False)[0]
        return pooled


@pytest.mark.parametrize("per_channel", [False, True])
def test_the_closed_form_of_the_gradient_passes_finite_differences(per_channel: bool) -> None:
    """Independent of autograd, of the definition and of the kernels: the formulas themselves."""
    h, e, lengths = _inputs(torch.float64, per_channel)
    assert torch.autograd.gradcheck(
        lambda a, b: asp(a, b, lengths, EPSILON, True)[0], (h.requires_grad_(), e.requires_grad_())
    )


@pytest.mark.parametrize("per_channel", [False, True])
def test_the_closed_form_agrees_with_autograd_through_the_definition(per_channel: bool) -> None:
    """Two ways to the same gradient, in single precision and 1,000 away from zero."""
    h, e, lengths = _inputs(torch.float32, per_channel)
    h = h + 1000.0
    exact_h, exact_e = h.double().requires_grad_(), e.double().requires_grad_()
    gradient = torch.randn(3, 8, generator=torch.Generator().manual_seed(6))
    asp_reference(exact_h, exact_e, lengths).backward(gradient.double())
    pooled, state = asp_reference_with_state(h, e, lengths)
    to_h, to_e = asp_backward_reference(h, e, lengths, pooled, state, gradient)
    torch.testing.assert_close(to_h.double(), exact_h.grad, atol=2e-6, rtol=0.0)
    torch.testing.assert_close(to_e.double(), exact_e.grad, atol=2e-6, rtol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("per_channel", [False, True])
def test_the_registration_is_complete(dtype: torch.dtype, per_channel: bool) -> None:
    """opcheck: schema, autograd, shapes without data, and tracing ahead of time."""
    h, e, lengths = _inputs(dtype, per_channel)
    torch.library.opcheck(asp, (h.requires_grad_(), e.requires_grad_(), lengths, EPSILON, True))
    torch.library.opcheck(asp, (h.detach(), e.detach(), lengths, EPSILON, False))


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_an_exported_program_keeps_the_operator_as_one_node() -> None:
    """Who loads the program on a GPU gets the kernel; taken apart it would be ten passes over the frames."""
    inputs = _inputs(torch.float32, False)
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(Pool(), inputs, dynamic_shapes=({0: batch}, {0: batch}, {0: batch}))
    for stage in (program, program.run_decompositions()):
        called = [str(node.target) for node in stage.graph.nodes if node.op == "call_function"]
        assert called.count("livemos.asp.default") == 1
        assert not [name for name in called if name.startswith("aten.")]
    doubled = tuple(torch.cat([value, value]) for value in inputs)
    torch.testing.assert_close(program.module()(*doubled), asp_reference(*doubled))


def test_a_compiled_model_trains_through_the_operator_without_a_break() -> None:
    """fullgraph: a break would fall back to Python at every step, silently."""
    h, e, lengths = _inputs(torch.float32, False)

    def loss(frames: Tensor, scores: Tensor) -> Tensor:
        return asp(2.0 * frames, scores, lengths, EPSILON, True)[0].square().sum()

    gradients = []
    for run in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        frames, scores = h.clone().requires_grad_(), e.clone().requires_grad_()
        run(frames, scores).backward()
        gradients.append((frames.grad, scores.grad))
    torch.testing.assert_close(gradients[0], gradients[1])


def test_shapes_that_do_not_fit_are_refused_with_what_would() -> None:
    """The kernels take addresses; a wrong shape there is a wrong result or a crash."""
    h, e, lengths = _inputs(torch.float32, False)
    with pytest.raises(ValueError, match=r"e \(B, T\) or \(B, T, D\)"):
        asp(h, e[:, :5], lengths, EPSILON, False)


def test_a_gradient_without_the_state_is_refused() -> None:
    """Silence here would be a model that does not learn."""
    h, e, lengths = _inputs(torch.float32, False)
    with pytest.raises(ValueError, match="keep_state=True"):
        asp(h.requires_grad_(), e, lengths, EPSILON, False)

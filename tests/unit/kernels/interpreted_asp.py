"""Runs in a process of its own: the fused kernels under Triton's interpreter against the definition in float64.

Prints one line a case and type: name, errors of results and gradients; then one line for a step of training.
"""

from __future__ import annotations

import dataclasses
import json

import torch

from livemos.kernels.asp.custom_ops import asp
from livemos.kernels.asp.fused import asp_fused
from livemos.kernels.asp.reference import asp_reference
from livemos.kernels.benchmarks.asp_agreement import measure
from livemos.kernels.benchmarks.asp_cases import awkward_cases
from livemos.kernels.operators import attentive_stats_pool, describe_dispatch
from livemos.training.models import base, conformer

# other types change loads and stores alone: one case of each kind of score, padding and offset answers for them
IN_EVERY_TYPE = {
    "33 frames",
    "1000 frames",
    "ragged with an empty row",
    "ragged, a score a channel",
    "offset 100",
    "offset 1000, a score a channel",
    "one-hot-like scores",
    "constant frames",
}
TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def print_agreement() -> None:
    for name, dtype in TYPES.items():
        for case in awkward_cases(quick=True):
            if dtype == torch.float32 or case.name in IN_EVERY_TYPE:
                errors = dataclasses.asdict(measure(case, dtype))
                print(json.dumps({"case": case.name, "type": name, **errors}))
    for case in awkward_cases(quick=True):
        if case.name in {"ragged with an empty row", "ragged, a score a channel", "33 frames"}:
            errors = dataclasses.asdict(measure(case, block_t=16, block_d=32))
            print(json.dumps({"case": f"{case.name}, other blocks", "type": "fp32", **errors}))


def print_poisoned_outputs() -> None:
    """Memory that torch hands out may hold anything; here it holds NaN."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    unwritten = torch.empty(3)
    case = next(case for case in awkward_cases(quick=True) if case.name == "ragged with an empty row")
    errors = dataclasses.asdict(measure(case))
    poisoned = bool(torch.isnan(unwritten).all())
    print(json.dumps({"case": "outputs full of NaN", "type": "fp32", "poisoned": poisoned, **errors}))
    torch.use_deterministic_algorithms(False)


def gradients_of_a_step(pool: object) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one step of the default model on noise, with `pool` in place of the operator."""
    before, base.attentive_stats_pool = base.attentive_stats_pool, pool
    try:
        torch.manual_seed(3)
        model = conformer.SpeechQualityConformer(conformer.ConformerSize(dropout=0.0), torch.zeros(64), torch.ones(64))
        loss = model(torch.randn(4, 98, 64)).square().mean()
        loss.backward()
    finally:
        base.attentive_stats_pool = before
    return float(loss.detach()), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def print_training_step() -> None:
    fused_loss, fused = gradients_of_a_step(attentive_stats_pool)
    loss, plain = gradients_of_a_step(asp_reference)
    largest = max(float(gradient.abs().max()) for gradient in plain.values())
    difference = max(float((fused[name] - plain[name]).abs().max()) for name in plain)
    row = {
        "step": str(describe_dispatch("cpu")),
        "loss": abs(fused_loss - loss) / loss,
        "gradient": difference / largest,
        "parameters": len(fused) == len(plain),
    }
    print(json.dumps(row))


def print_operator() -> None:
    """The operator as torch sees it runs the kernel here, and its type is the contract's."""
    h, e, lengths = torch.randn(2, 5, 3).half(), torch.randn(2, 5), torch.tensor([5, 2])
    pooled, _ = asp(h, e, lengths, 1e-6, False)
    direct, state = asp_fused(h, e, lengths.int())
    print(json.dumps({"operator": torch.equal(pooled, direct), "dtype": str(pooled.dtype), "state": state.numel()}))
    none = asp_fused(torch.empty(0, 5, 3), torch.empty(0, 5), torch.empty(0, dtype=torch.int32), keep_state=True)
    print(json.dumps({"empty": [list(value.shape) for value in none]}))


def main() -> None:
    print_agreement()
    print_poisoned_outputs()
    print_training_step()
    print_operator()


if __name__ == "__main__":
    main()

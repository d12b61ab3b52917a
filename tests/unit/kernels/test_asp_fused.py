"""The Triton kernels compute what the definition says, shown by Triton's interpreter where there is no GPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

Rows = list[dict[str, Any]]

pytestmark = pytest.mark.timeout(300)  # of waiting for a process, on a machine that others use

RESULTS = ("mean", "deviation", "to_frames", "to_scores")
# exp(score - peak) is off by 6e-8 times the spread of the scores, and where one frame has nearly all the weight the
# deviation, which divides the gradient, is made of the others
PEAKED = {"one-hot-like scores", "one-hot-like scores a channel", "rising scores", "falling scores"}
PEAKED_LIMIT = 2e-5
# gradients leave in the type of what they belong to; results are float32 whatever came in
GRADIENT_LIMITS = {"fp32": 1e-6, "fp16": 6e-4, "bf16": 1e-2}


@pytest.fixture(scope="module")
def rows(rows_of: Callable[[str], Rows]) -> Rows:
    """What interpreted_asp.py found; the interpreter has to be on before a kernel is imported."""
    pytest.importorskip("triton", reason="triton is not installed")
    return rows_of("interpreted_asp")


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_results_and_gradients_agree_with_the_definition_in_double_precision(rows: Rows, dtype: str) -> None:
    """Lengths around the tile, empty rows, far offsets, peaked scores, strange strides: where kernels go wrong."""
    cases = [row for row in rows if row.get("type") == dtype]
    assert len(cases) >= (27 if dtype == "fp32" else 8)
    for row in cases:
        peaked = PEAKED_LIMIT if row["case"] in PEAKED else 0.0
        for result in RESULTS:
            limit = 1e-6 if result in {"mean", "deviation"} else max(GRADIENT_LIMITS[dtype], peaked)
            assert row[result] <= limit, (result, row)


def test_nothing_behind_a_length_is_read_and_no_gradient_goes_there(rows: Rows) -> None:
    """Padding is NaN in every case: one frame too many poisons the row, and the weights that are trained from it."""
    for row in rows:
        if "case" in row:
            assert row["finite"], row
            assert row["padding_is_zero"], row


def test_every_element_of_the_outputs_is_written(rows: Rows) -> None:
    """A mask that is too narrow leaves what was in memory before, which is zero only on a lucky day."""
    poisoned = next(row for row in rows if row.get("case") == "outputs full of NaN")
    assert poisoned["poisoned"]
    assert poisoned["finite"]


def test_a_step_of_training_with_the_kernels_equals_one_with_the_definition(rows: Rows) -> None:
    """What the kernels are for: the same loss and the same gradient of every weight of the default model."""
    step = next(row for row in rows if "step" in row)
    assert step["step"].startswith("attentive_stats_pool: triton on cpu")
    assert step["parameters"]
    assert step["loss"] < 1e-6
    assert step["gradient"] < 2e-6


def test_the_operator_runs_the_kernel_and_answers_in_single_precision(rows: Rows) -> None:
    """The contract says float32 out, also for half-precision frames; the state is written only for a gradient."""
    operator = next(row for row in rows if "operator" in row)
    assert operator == {"operator": True, "dtype": "torch.float32", "state": 0}


def test_an_empty_batch_launches_nothing(rows: Rows) -> None:
    """A grid of zero programs is an error of the driver, on a GPU only."""
    assert next(row for row in rows if "empty" in row)["empty"] == [[0, 6], [0, 4, 3]]


def test_the_package_of_kernels_imports_without_triton() -> None:
    """Users without a GPU have no Triton; importing the operators must not ask for it."""
    code = (
        "import importlib.util, sys; real = importlib.util.find_spec; "
        "importlib.util.find_spec = lambda name, *rest: None if name == 'triton' else real(name, *rest); "
        "sys.modules['triton'] = None; from livemos.kernels.operators import describe_dispatch; "
        "print(describe_dispatch('cuda'))"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "attentive_stats_pool: reference on cuda (triton is not installed)"

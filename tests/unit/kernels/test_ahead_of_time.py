"""The kernels compile for the GPUs people have, and fit them; checked where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Rows = list[dict[str, Any]]

pytestmark = pytest.mark.timeout(300)  # of waiting for a process, on a machine that others use


@pytest.fixture(scope="module")
def rows(rows_of: Callable[[str], Rows]) -> Rows:
    """What compiled_kernels.py found: every variant of every kernel on every GPU, and the plugin's PTX."""
    pytest.importorskip("triton", reason="triton is not installed")
    return rows_of("compiled, first half") + rows_of("compiled, second half")


@pytest.fixture(scope="module")
def usages(rows: Rows) -> Rows:
    return [row for row in rows if "variant" in row]


def test_the_plugins_ptx_is_that_of_the_kernel_and_assembles_for_every_gpu(rows: Rows) -> None:
    """TensorRT launches it with inputs, numbers and the output; Triton's two hidden pointers have to be gone."""
    (facts,) = [row for row in rows if "plugin" in row]
    assert facts["plugin"] == "asp_forward_kernel"
    assert facts["parameters"] == 3 + 6 + 1
    assert facts["shared_bytes"] <= 32_768
    assert not facts["paths"]  # a plan ships; the builder's folders must not
    assembled = {row["plugin_on"]: row["spilled"] for row in rows if "plugin_on" in row}
    assert assembled == dict.fromkeys((80, 86, 89, 90, 120), False)


PTX = """.visible .entry f(
	.param .u64 f_param_0,
	.param .u64 f_param_1,
	.param .u64 f_param_2,
	.param .u32 f_param_3,
	.param .u32 f_param_4,
	.param .u32 f_param_5,
	.param .u32 f_param_6,
	.param .u32 f_param_7,
	.param .u32 f_param_8,
	.param .u64 f_param_9,
	.param .u64 .ptr .global .align 1 f_param_10,
	.param .u64 .ptr .global .align 1 f_param_11
)
{
	ld.param.b64 %rd1, [f_param_1];
}
"""


def test_hidden_parameters_are_stripped_only_where_nothing_uses_them() -> None:
    """A kernel that reads one would read whatever the launcher left there."""
    pytest.importorskip("triton", reason="triton is not installed")
    from livemos.kernels.asp.plugin_kernel import strip_hidden

    stripped = strip_hidden(PTX, "f")
    assert "f_param_9\n)" in stripped
    assert "f_param_10" not in stripped
    assert stripped.endswith("ld.param.b64 %rd1, [f_param_1];\n}\n")
    with pytest.raises(ValueError, match="uses its hidden parameter f_param_11"):
        strip_hidden(PTX.replace("[f_param_1]", "[f_param_11]"), "f")
    with pytest.raises(ValueError, match="no entry g"):
        strip_hidden(PTX, "g")
    with pytest.raises(ValueError, match="has 10 parameters"):
        strip_hidden(strip_hidden(PTX, "f"), "f")


def test_every_kernel_compiles_for_every_gpu(usages: Rows) -> None:
    """The interpreter runs what the compiler refuses, and one GPU's compiler accepts what another's does not."""
    assert {row["compute_capability"] for row in usages} == {80, 86, 89, 90, 120}
    assert len(usages) == 5 * len({row["variant"] for row in usages}) == 40


def test_nothing_spills_out_of_the_registers(usages: Rows) -> None:
    """A kernel that spills moves more bytes than the plain version it replaces."""
    for row in usages:
        assert row["stack_bytes"] == row["local_bytes"] == 0, row


def test_registers_and_shared_memory_stay_within_the_stated_limits(usages: Rows) -> None:
    """Occupancy hides the waiting for memory; what grows past its limit here is slower on every GPU."""
    for row in usages:
        assert row["registers"] <= row["registers_limit"], row
        assert row["shared_bytes"] <= 32_768, row

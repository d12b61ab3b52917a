"""The kernels compile for the GPUs people have, and fit them; checked where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def usages(rows_of: Callable[..., Rows], tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """What compiled_kernels.py found: every variant of every kernel on every GPU."""
    pytest.importorskip("triton", reason="triton is not installed")
    cache: Path = tmp_path_factory.mktemp("triton")
    return rows_of(
        "compiled_kernels.py", TRITON_CACHE_DIR=str(cache), TRITON_DEFAULT_FP_FUSION="1", TRITON_INTERPRET="0"
    )


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

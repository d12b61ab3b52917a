"""The Triton kernel computes what the definition says, shown by Triton's interpreter where there is no GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="triton is not installed")


@pytest.fixture(scope="module")
def cases() -> dict[str, dict[str, Any]]:
    """Every case of interpreted_asp.py by name; the interpreter has to be on before the kernel is imported."""
    script = Path(__file__).with_name("interpreted_asp.py")
    ran = subprocess.run(
        [sys.executable, str(script)],
        check=False,
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    rows = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    return {row["case"]: row for row in rows}


def test_the_kernel_agrees_with_the_definition_on_awkward_shapes(cases: dict[str, dict[str, Any]]) -> None:
    """Lengths around the tile, ragged rows, peaked scores and strange strides are where tiled kernels go wrong."""
    assert len(cases) == 22
    for name, row in cases.items():
        assert row["finite"], name
        assert row["mean"] < 2e-6, (name, row)
        assert row["deviation"] < (5e-5 if "offset" in name else 5e-6), (name, row)


def test_the_kernel_answers_in_single_precision_for_half_precision_frames(cases: dict[str, dict[str, Any]]) -> None:
    """The contract says float32 out; half-precision sums would be off by a hundredth."""
    assert cases["half precision"]["dtype"] == "torch.float32"


def test_the_kernel_compiles_for_real_gpus_and_keeps_everything_in_registers(tmp_path: Path) -> None:
    """The interpreter runs what the compiler refuses; and a kernel that spills is slower than the reference."""
    script = Path(__file__).with_name("compiled_asp.py")
    ran = subprocess.run(
        [sys.executable, str(script)],
        check=False,
        env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    rows = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert [row["target"] for row in rows] == ["sm_80 fp32", "sm_80 fp16", "sm_90 fp32", "sm_90 fp16"]
    for row in rows:
        assert "STACK:0" in row["usage"], row
        assert "LOCAL:0" in row["usage"], row


def test_the_package_of_kernels_imports_without_triton() -> None:
    """Users without a GPU have no Triton; importing the operators must not ask for it."""
    code = "import sys; sys.modules['triton'] = None; import livemos.kernels.operators"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=60).returncode == 0

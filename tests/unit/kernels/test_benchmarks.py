"""What is timed, and above all what is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from livemos.kernels.benchmarks.registry import BENCHMARKS
from livemos.kernels.benchmarks.run import BenchmarkRefusedError, describe_machine, require_green
from livemos.kernels.command import app

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")


@no_gpu
def test_without_a_gpu_the_command_says_so_in_one_line(tmp_path: Path) -> None:
    """A figure from a CPU under the name of a kernel would be quoted one day."""
    results = tmp_path / "rows.jsonl"
    ran = CliRunner().invoke(app, ["--results", str(results)])
    assert ran.exit_code == 1
    assert ran.output == "bench kernels: no CUDA device is here: kernels are timed on a GPU or not at all\n"
    assert not results.exists()


def test_an_operator_with_a_red_test_is_not_timed(tmp_path: Path) -> None:
    """A fast wrong answer is no result."""
    benchmark = dataclasses.replace(BENCHMARKS["asp-forward"], tests=("test_it.py",))
    with pytest.raises(BenchmarkRefusedError, match=r"not at .*test_it.py"):
        require_green(benchmark, tmp_path)
    (tmp_path / "test_it.py").write_text("def test_it():\n    assert True\n", encoding="utf-8")
    require_green(benchmark, tmp_path)
    (tmp_path / "test_it.py").write_text("def test_it():\n    assert False\n", encoding="utf-8")
    with pytest.raises(BenchmarkRefusedError, match=r"its tests are red, nothing was timed \(1 failed"):
        require_green(benchmark, tmp_path)


def test_an_unknown_operator_is_refused_with_the_names_there_are() -> None:
    """A typing error must not end in an empty file of results."""
    ran = CliRunner().invoke(app, ["--operator", "aps"])
    assert ran.exit_code == 2
    assert "asp-forward" in ran.output


@pytest.mark.parametrize("operator", BENCHMARKS)
def test_every_entry_names_tests_that_exist_and_counts_its_bytes(operator: str) -> None:
    """Bandwidth is bytes over time; the bytes are arithmetic that can be checked here."""
    pytest.importorskip("triton", reason="triton is not installed")
    benchmark = BENCHMARKS[operator]
    assert all(Path(__file__).with_name(name).exists() for name in benchmark.tests)
    work = benchmark.prepare(benchmark.sizes[0], benchmark.dtypes[0], torch.device("cpu"))
    expected = {
        "asp-forward": 4 * 64 * 25 * 96 + 4 * 64 * 25 + 4 * 64 + 8 * 64 * 96,
        "asp-backward": 8 * 64 * 25 * 97 + 4 * 64 + 4 * 64 * 96 * (2 + 4 + 2),
        "log-mel": 2 * 64 * 16_000 + 4 * 64 * 98 * (1024 + 1028 + 64),
    }
    assert work.moved_bytes == expected[operator]
    assert work.reference() is not None


def test_a_row_says_what_it_was_measured_with() -> None:
    """A figure without GPU, driver, versions and commit cannot be compared with another."""
    pytest.importorskip("triton", reason="triton is not installed")
    assert set(describe_machine()) == {"gpu", "compute_capability", "driver", "torch", "cuda", "triton", "commit"}


def test_the_plot_is_a_png_of_the_rows(tmp_path: Path) -> None:
    """The picture of a release comes from its rows, not from a spreadsheet."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from livemos.kernels.benchmarks.plot import plot_bandwidth

    rows: list[dict[str, Any]] = [
        {"operator": "asp-forward", "way": way, "dtype": "float32", "moved_bytes": size * 10**6,
         "gigabytes_per_second": size * 1.0, "gpu": "none"}
        for way in ("fused", "copy") for size in (1, 10, 100)
    ]  # fmt: skip
    plot_bandwidth(rows, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no timing"):
        plot_bandwidth([], tmp_path / "none.png")

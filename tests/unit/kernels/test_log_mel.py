"""The features of `livemos.kernels` are the agent's: plain torch here, the fused passes under Triton's interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from livemos.kernels.log_mel.plan import LogMelPlan
from livemos.kernels.log_mel.reference import log_mel_reference
from livemos.kernels.operators import describe_dispatch, log_mel

Rows = list[dict[str, Any]]

pytestmark = pytest.mark.timeout(300)  # of waiting for a process, on a machine that others use

# largest difference to the agent's features, nats; a tone leaves the other bands to the rounding of its own transform
LIMITS = {
    "noise": 1e-5,
    "quiet noise": 1e-5,
    "speech-like": 5e-5,
    "440 Hz over quiet noise": 2e-3,
    "two tones": 2e-3,
    "line with an offset": 1e-5,
    "silence": 0.0,
}


@pytest.fixture(scope="module")
def rows(rows_of: Callable[[str], Rows]) -> dict[str, dict[str, Any]]:
    """What interpreted_log_mel.py found, by signal."""
    pytest.importorskip("triton", reason="triton is not installed")
    return {row["signal"]: row for row in rows_of("interpreted_log_mel")}


@pytest.mark.parametrize("signal", LIMITS)
def test_the_features_are_the_agents(rows: dict[str, dict[str, Any]], signal: str) -> None:
    """A model is trained on one and served by the other; TF32 in the mel product alone would be off by 1e-3 or more."""
    row = rows[signal]
    assert row["shape"] == [1, 98, 64]
    ways = {name: worst for name, worst in row.items() if name not in {"signal", "shape"}}
    assert {"reference", "reference_int16", "fused_int16"} <= set(ways)
    for way, worst in ways.items():
        assert worst <= LIMITS[signal], (way, row)


def test_the_size_of_a_chunk_changes_nothing(rows: dict[str, dict[str, Any]]) -> None:
    """Chunks are for the cache; seven segments are three, three and one."""
    assert rows["batch"]["chunks_are_equal"]
    assert rows["batch"]["rows"] == 7


def test_other_windows_hops_and_bands_work(rows: dict[str, dict[str, Any]]) -> None:
    """A bundle says what its features are: 320 samples, every 100, 40 bands, which is no multiple of the block."""
    assert rows["other parameters"]["fused"] <= 1e-5


def _plan() -> LogMelPlan:
    filters = torch.zeros(9, 20)
    filters[2:5, 3], filters[7, 18] = 1.0, 1.0
    return LogMelPlan.build(torch.ones(12), filters, hop_samples=4, fft_samples=16, floor=1e-5)


def test_the_plan_knows_which_bins_a_block_of_bands_reaches() -> None:
    """A bin too few is power that is missing, a bin too many is time."""
    assert _plan().reach.tolist() == [[2, 5], [7, 8]]
    assert _plan().frames(11) == 0
    assert _plan().frames(16) == 2


def test_the_operator_runs_the_definition_on_a_cpu() -> None:
    """Who compares speeds must know which code ran."""
    samples = torch.randn(2, 40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(log_mel(samples, _plan()), log_mel_reference(samples, _plan()))
    assert str(describe_dispatch("cpu", "log_mel")).startswith("log_mel: reference on cpu")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"window": torch.ones(17)}, "W <= 16"),
        ({"filters": torch.ones(8, 4)}, "9 bins"),
        ({"hop_samples": 0}, "above 0"),
        ({"floor": 0.0}, "above 0"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(changed: dict[str, Any], said: str) -> None:
    """The kernels would read past the table."""
    fits = {"window": torch.ones(12), "filters": torch.ones(9, 4), "hop_samples": 4, "fft_samples": 16, "floor": 1e-5}
    with pytest.raises(ValueError, match=said):
        LogMelPlan.build(**{**fits, **changed})

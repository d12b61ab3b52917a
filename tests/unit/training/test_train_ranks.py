"""Two processes take the step that one would have taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from livemos.training.ranks import BatchNormOverRanks, normalise_over_ranks, share, together
from livemos.training.recipe import Recipe
from livemos.training.train import LOG, Machine, fit

PROCESS = """
import pickle, sys
from pathlib import Path
import torch
from lightning.pytorch import Callback
from livemos.training.train import Machine, fit
torch.set_num_threads(1)
recipe = pickle.loads(Path("recipe.pickle").read_bytes())
class Gradients(Callback):
    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == 0:
            found = {name: value.grad for name, value in pl_module.model.named_parameters()}
            torch.save(found, f"gradients{trainer.global_rank}.pt")
if __name__ == "__main__":
    fit(recipe, Path("."), lambda *_: None, machine=Machine(accelerator="cpu", devices=2), callbacks=[Gradients()])
"""


class Gradients(Callback):
    """The model's gradient at step 0."""

    def __init__(self) -> None:
        self.found: dict[str, torch.Tensor] = {}

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if trainer.global_step == 0:
            model = pl_module.get_submodule("model")
            self.found = {
                name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None
            }


@pytest.mark.timeout(150)  # three processes import torch
def test_two_processes_find_the_gradient_of_one(recipe: Recipe, work: Path, tmp_path: Path) -> None:
    """A recipe's figures hold for any number of devices only if losses and batch statistics do not notice the cut."""
    import pickle

    for split in ("train", "val"):
        (tmp_path / split).symlink_to(work / split)
    # a unit that drops out is drawn by each process for itself
    still = replace(recipe, name="one", steps=4, evaluate_every_steps=2, size=replace(recipe.size, dropout=0.0))
    (tmp_path / "recipe.pickle").write_bytes(pickle.dumps(replace(still, name="two")))
    (tmp_path / "fit.py").write_text(PROCESS)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.run(
        [sys.executable, "fit.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=140,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    alone = Gradients()
    fit(still, tmp_path, lambda step, terms: None, machine=Machine(accelerator="cpu"), callbacks=[alone])
    longest = max(float(value.abs().max()) for value in alone.found.values())
    for rank in (0, 1):
        shared = torch.load(tmp_path / f"gradients{rank}.pt", weights_only=True)
        assert shared.keys() == alone.found.keys()
        for name, value in alone.found.items():
            torch.testing.assert_close(shared[name], value, rtol=1e-3, atol=1e-5 * longest, msg=name)
    lines = [[json.loads(line) for line in (tmp_path / run / LOG).read_text().splitlines()] for run in ("one", "two")]
    assert [line["step"] for line in lines[1]] == [2, 4]  # one process writes
    for one, two in zip(*lines, strict=True):
        assert abs(one["total"] - two["total"]) < 1e-3 * one["total"]
        assert abs(one["rmse"] - two["rmse"]) < 2e-3


def test_what_is_shared_out_comes_together_in_order() -> None:
    """A share that overlaps or skips would pair one clip's outputs with another's label."""
    rows = torch.arange(12).reshape(6, 2)
    assert torch.equal(torch.cat([share(rows, rank, 3) for rank in range(3)]), rows)
    assert together(rows, 0, 1) is rows


def test_normalisation_over_processes_keeps_names_and_weights_and_is_the_same_outside_training() -> None:
    """A checkpoint of two processes must load in one, and a model is judged as it will be heard."""
    plain = nn.Sequential(nn.Conv1d(2, 3, 1), nn.Sequential(nn.BatchNorm1d(3))).eval()
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    heard = torch.randn(4, 2, 5)
    expected = plain(heard)
    normalise_over_ranks(plain)
    plain.eval()
    assert isinstance(plain.get_submodule("1.0"), BatchNormOverRanks)
    assert plain.state_dict().keys() == before.keys()
    assert torch.equal(plain(heard), expected)

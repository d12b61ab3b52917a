"""The trainer learns, takes the same steps however it is run, and goes on exactly where it was ended."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from livemos.agent.errors import ConfigError
from livemos.training import checkpoint
from livemos.training.recipe import Addition, Recipe
from livemos.training.train import LOG, Machine, cut_log, fit

CPU = Machine(accelerator="cpu")
Curve = dict[int, dict[str, float]]
PROCESS = """
import json, pickle, sys
from pathlib import Path
import torch
from livemos.training.train import Machine, fit
torch.set_num_threads(1)
recipe, machine = pickle.loads(Path(sys.argv[1]).read_bytes())
def report(step, terms):
    print(json.dumps([step, terms]), flush=True)
if __name__ == "__main__":
    fit(recipe, Path(sys.argv[2]), report, machine=machine)
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums over another number of threads are rounded otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def place(work: Path, tmp_path: Path) -> Path:
    """A work folder of one's own on the tables of all."""
    for split in ("train", "val"):
        (tmp_path / split).symlink_to(work / split)
    return tmp_path


@pytest.fixture
def process(place: Path) -> Iterator[Callable[[Recipe, Machine], subprocess.Popen[str]]]:
    """Starts `fit` in a process of its own that prints step and terms of each step."""
    import pickle

    started: list[subprocess.Popen[str]] = []

    def start(recipe: Recipe, machine: Machine) -> subprocess.Popen[str]:
        (place / "fit.py").write_text(PROCESS)
        (place / "what.pickle").write_bytes(pickle.dumps((recipe, machine)))
        command = [sys.executable, "fit.py", "what.pickle", "."]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        child = subprocess.Popen(
            command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def rewrite_claims(place: Path, seed: int) -> None:
    """The same clips, said to be of another seed."""
    for split, own in (("train", seed), ("val", seed + 1)):
        tables = (place / split).resolve()
        (place / split).unlink()
        (place / split).mkdir()
        for file in tables.iterdir():
            (place / split / file.name).symlink_to(file)
        (place / split / "job.json").unlink()
        (place / split / "job.json").write_text(json.dumps({"seed": own}))


def run(recipe: Recipe, place: Path, **options: Any) -> tuple[dict[str, Tensor], Curve]:
    """Weights and curve of a run in this process."""
    curve: Curve = {}
    path = fit(recipe, place, curve.__setitem__, machine=options.pop("machine", CPU), **options)
    return checkpoint.load_model(path)[0].state_dict(), curve


def log_of(folder: Path) -> list[dict[str, Any]]:
    """Lines of the log without the time they took."""
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def assert_same(some: dict[str, Tensor], others: dict[str, Tensor]) -> None:
    """Bit for bit."""
    assert some.keys() == others.keys()
    for name, value in some.items():
        assert torch.equal(value, others[name]), name


def test_the_loss_falls_within_a_few_steps(recipe: Recipe, place: Path) -> None:
    """The shortest proof that gradients reach the weights and point the right way."""
    _, curve = run(recipe, place)
    losses = [curve[step]["total"] for step in sorted(curve)]
    assert sorted(curve) == list(range(1, recipe.steps + 1))
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
    assert [step for step in sorted(curve) if "likelihood" in curve[step]] == list(range(17, 25))  # the last third


class Observer(Callback):
    """Weights and rate of learning after each step."""

    def __init__(self) -> None:
        self.weights: list[Tensor] = []
        self.rates: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *step: Any) -> None:
        self.weights.append(pl_module.get_parameter("model.score.0.weight").detach().clone())
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def test_the_model_is_the_average_of_the_steps_along_one_cycle(recipe: Recipe, place: Path) -> None:
    """The last step alone is noisy; and a rate that does not fall to nothing never settles."""
    observer = Observer()
    model, _ = run(recipe, place, callbacks=[observer])
    average = observer.weights[0]
    for count, weights in enumerate(observer.weights[1:], start=1):
        kept = min(recipe.average_decay, (1 + count) / (10 + count))
        average = kept * average + (1 - kept) * weights
    torch.testing.assert_close(model["score.0.weight"], average, atol=1e-6, rtol=1e-5)
    assert len(observer.rates) == recipe.steps
    assert max(observer.rates) == pytest.approx(recipe.peak_learning_rate, rel=0.01)
    assert observer.rates.index(max(observer.rates)) < recipe.steps / 4
    assert observer.rates[-1] < 0.01 * recipe.peak_learning_rate


def test_the_same_seed_gives_the_same_checkpoint_with_any_number_of_loaders(recipe: Recipe, place: Path) -> None:
    """A figure in the model card is only worth its command if the command gives the same model again."""
    weights, curve = run(replace(recipe, name="first"), place)
    again, curve_again = run(replace(recipe, name="second"), place, machine=replace(CPU, loaders=2))
    assert curve == curve_again
    assert_same(weights, again)
    rewrite_claims(place, seed=recipe.seed + 1)
    other, _ = run(replace(recipe, name="third", seed=recipe.seed + 1), place)
    assert not torch.equal(weights["score.0.weight"], other["score.0.weight"])


@pytest.mark.timeout(150)  # another process imports torch
def test_a_run_killed_at_any_moment_goes_on_with_the_same_curve(
    recipe: Recipe, place: Path, process: Callable[[Recipe, Machine], subprocess.Popen[str]]
) -> None:
    """Machines are taken away without a warning; the model that ships must not depend on when."""
    through, whole = run(replace(recipe, name="through"), place)
    stopped = replace(recipe, name="stopped")
    machine = replace(CPU, checkpoint_every_steps=5)
    child = process(stopped, machine)
    assert child.stdout is not None and child.stderr is not None
    before: Curve = {}
    for line in child.stdout:
        step, terms = json.loads(line)
        before[step] = terms
        if step == 18:  # after the evaluation of step 16, which the checkpoint of step 15 does not know
            child.send_signal(signal.SIGKILL)
            break
    assert child.wait(timeout=20) == -signal.SIGKILL, child.stderr.read()
    assert checkpoint.load(place / "stopped" / checkpoint.LATEST)["global_step"] == 15
    weights, after = run(stopped, place, machine=machine)
    assert sorted(after) == list(range(16, 25))
    for step in range(1, recipe.steps + 1):
        for curve in (before, after):
            assert step not in curve or curve[step] == whole[step], step
    assert log_of(place / "stopped") == log_of(place / "through")
    assert_same(through, weights)


def test_a_finished_run_is_not_run_again(recipe: Recipe, place: Path) -> None:
    """`livemos train all` asks for every part each time; what is done must cost nothing and stay as it was."""
    recipe = replace(recipe, bak_share=0.3)
    weights, _ = run(recipe, place)
    log = log_of(place / recipe.name)
    again, curve = run(recipe, place)
    assert curve == {}
    assert_same(weights, again)
    assert log_of(place / recipe.name) == log
    facts = checkpoint.load_model(place / recipe.name / checkpoint.FINAL)[1]
    assert facts["steps"] == recipe.steps
    assert facts["sources"]
    assert facts["bak_share"] == recipe.bak_share == 0.3  # the card says so
    assert 0.0 <= facts["error_correlation"] <= 1.0


def test_a_checkpoint_of_another_recipe_is_not_continued(recipe: Recipe, place: Path) -> None:
    """Changing the recipe means a new run, not half of each, in the log as in the weights."""
    run(replace(recipe, weight_decay=0.5), place)
    weights, curve = run(recipe, place)
    assert min(curve) == 1
    assert len(log_of(place / recipe.name)) == 3
    assert_same(weights, run(replace(recipe, name="alone"), place)[0])


def test_a_checkpoint_is_replaced_whole(recipe: Recipe, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash while writing must leave the checkpoint before it."""
    whole = torch.save

    class PowerCutError(Exception):
        pass

    def cut_short(content: dict[str, Any], path: Path) -> None:
        if content["global_step"] == 16:
            path.write_bytes(b"half")
            raise PowerCutError
        whole(content, path)

    monkeypatch.setattr(torch, "save", cut_short)
    with pytest.raises(PowerCutError):
        run(recipe, place)
    assert checkpoint.load(place / recipe.name / checkpoint.LATEST)["global_step"] == 8


def test_weights_of_the_loss_are_learnt_and_kept_out_of_the_model(recipe: Recipe, place: Path) -> None:
    """Weights between the terms belong to the run; a bundle that carried them could not be loaded."""

    learning = replace(recipe, learned_task_weights=True)
    weights, _ = run(learning, place)
    assert not any("task" in name for name in weights)
    state = checkpoint.load(place / recipe.name / checkpoint.LATEST)["state_dict"]
    learned = state["task_weights.log_variance"]
    assert bool((learned != 0).all())
    plain, _ = run(replace(recipe, name="plain"), place)
    assert any(not torch.equal(value, plain[name]) for name, value in weights.items())


def test_curves_are_written_for_tensorboard_where_it_is_installed(
    recipe: Recipe, place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Curves are looked at while a run goes on; without the package the run goes on all the same and says so once."""
    pytest.importorskip("tensorboard")
    short = replace(recipe, steps=10, evaluate_every_steps=10)
    run(short, place)
    events = list((place / recipe.name / "tensorboard").glob("events.*"))
    assert len(events) == 1
    assert b"loss/contrast" in events[0].read_bytes()
    assert b"validation/pearson" in events[0].read_bytes()

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *at: None if name == "tensorboard" else found(name, *at)
    )
    run(replace(short, name="without"), place)
    assert not (place / "without" / "tensorboard").exists()
    assert [record.message for record in caplog.records if "tensorboard" in record.message] != []
    assert len(log_of(place / "without")) == 1


def test_devices_that_cannot_share_a_step_are_refused(recipe: Recipe, place: Path) -> None:
    """A family is never cut in two, since its differences are a term of the loss."""
    with pytest.raises(ConfigError, match="divisor"):
        fit(recipe, place, lambda step, terms: None, machine=replace(CPU, devices=3))


def test_tables_of_another_recipe_are_not_trained_on(recipe: Recipe, place: Path) -> None:
    """The model would be called after a recipe whose clips it never heard."""
    with pytest.raises(ConfigError, match=r"val holds clips of seed 2 and damage set first, .* of seed 8"):
        run(replace(recipe, seed=7), place)
    with pytest.raises(ConfigError, match="set first, but recipe tiny is made of seed 2 and second; give the --work"):
        run(replace(recipe, damage_set="second"), place)
    addition = Addition(name="more", seed=3, families=4, damage_set="third")
    with pytest.raises(ConfigError, match=r"more/job\.json is missing; run `livemos train label --recipe tiny` first"):
        run(replace(recipe, additions=(addition,)), place)
    (place / "more").symlink_to(place / "train")
    with pytest.raises(ConfigError, match=r"more holds clips of seed 1 .* seed 3 and third"):
        run(replace(recipe, additions=(addition,)), place)
    assert not (place / recipe.name).exists()


@pytest.mark.parametrize("wrong", [{"accelerator": "tpuu"}, {"precision": "fp17"}, {"accelerator": "gpu"}])
def test_hardware_that_is_not_there_is_refused_before_tables_are_read(
    recipe: Recipe, tmp_path: Path, wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading gigabytes first, to end in a traceback, costs minutes for a typing error."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("lightning.fabric.accelerators.cuda.num_cuda_devices", lambda: 0)
    monkeypatch.setattr("lightning.pytorch.accelerators.cuda.num_cuda_devices", lambda: 0)
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"cannot train with .*--{name} {wrong[name]}"):
        run(recipe, tmp_path / "none", machine=replace(CPU, **wrong))


def test_a_line_of_the_log_cut_short_is_dropped(tmp_path: Path) -> None:
    """A machine taken away while it writes leaves half a line, which must not end every later run."""
    (tmp_path / LOG).write_text('{"step": 8}\n{"step": 16}\n{"step": 2')
    cut_log(tmp_path / LOG, 8)
    assert (tmp_path / LOG).read_text() == '{"step": 8}\n'
    cut_log(tmp_path / LOG, 8)
    assert (tmp_path / LOG).read_text() == '{"step": 8}\n'

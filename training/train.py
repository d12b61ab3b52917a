"""The training loop: AdamW, one cycle, averaged weights, a line of JSON per evaluation, resumable at any step."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from livemos.agent.features import LogMel
from livemos.training import checkpoint
from livemos.training.batches import Windows
from livemos.training.evaluate import judge
from livemos.training.models.conformer import OUTPUTS, SpeechQualityConformer
from livemos.training.objectives import family_loss
from livemos.training.recipe import Recipe
from livemos.training.simulator import FAMILY_CLIPS
from livemos.training.tables import read_sources, read_table

Report = Callable[[int, dict[str, float]], None]
_LIKELIHOOD_FROM = 2 / 3  # of the steps: first the mean, then how far it is off


def _average_with(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """An exponential average that is shorter at the start, so that the weights drawn at random are soon forgotten."""

    def average(kept: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        if not kept.is_floating_point():
            return new
        steps = int(count)
        return torch.lerp(kept, new, 1.0 - min(decay, (1 + steps) / (10 + steps)))

    return average


@dataclass
class Run:
    """A run between two steps."""

    recipe: Recipe
    model: SpeechQualityConformer
    average: AveragedModel
    optimizer: torch.optim.AdamW
    schedule: torch.optim.lr_scheduler.OneCycleLR
    step: int = 0

    @classmethod
    def start(cls, recipe: Recipe, windows: Windows) -> Run:
        """Step 0, weights drawn from the recipe's seed."""
        torch.manual_seed(recipe.seed)
        model = SpeechQualityConformer(recipe.size, *windows.feature_statistics())
        matrices = [value for value in model.parameters() if value.ndim > 1]
        others = [value for value in model.parameters() if value.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=recipe.peak_learning_rate, weight_decay=recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.peak_learning_rate, total_steps=recipe.steps, pct_start=0.15
        )
        average = AveragedModel(model, avg_fn=_average_with(recipe.average_decay), use_buffers=True)
        return cls(recipe=recipe, model=model, average=average, optimizer=optimizer, schedule=schedule)

    def advance(self, windows: Windows) -> dict[str, float]:
        """One step; the terms of its loss."""
        # from the step alone, so that a resumed run drops out the same units as one that never stopped
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)
        batch = windows.training_batch(self.recipe, self.step)
        self.model.train()
        clips = self.recipe.batch_families * FAMILY_CLIPS
        outputs = self.model(batch.features).reshape(clips, self.recipe.windows_per_clip, len(OUTPUTS))
        terms = family_loss(
            outputs,
            batch.targets,
            self.recipe.weights,
            family_clips=FAMILY_CLIPS,
            with_likelihood=self.step >= _LIKELIHOOD_FROM * self.recipe.steps,
        )
        self.optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.average.update_parameters(self.model)
        self.step += 1
        return {name: float(term.detach()) for name, term in terms.items()}

    def averaged(self) -> SpeechQualityConformer:
        """The averaged model, for evaluation."""
        module = self.average.module
        assert isinstance(module, SpeechQualityConformer)
        return module.eval()

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs."""
        return {
            "recipe": repr(self.recipe),
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> bool:
        """Go on where `state` was saved; False, and nothing changed, when it belongs to another recipe."""
        if state.get("recipe") != repr(self.recipe):
            return False
        self.step = int(state["step"])
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        return True


def fit(recipe: Recipe, work: Path, report: Report) -> Path:
    """Train on the tables in `work`, from its latest checkpoint where there is one; the final model's path.

    `report(step, terms)` after each step. Writes work/<recipe>/{latest.pt, model.pt, log.jsonl}.
    """
    folder = work / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    front_end = LogMel()
    windows = Windows.of(read_table(work / "train", recipe.train_families), front_end)
    validation = Windows.of(read_table(work / "val", recipe.validation_families), front_end)
    run = Run.start(recipe, windows)
    latest = folder / checkpoint.LATEST
    if latest.exists():
        run.restore(checkpoint.load(latest))
    began = time.monotonic()
    facts: dict[str, Any] = {}
    while run.step < recipe.steps:
        terms = run.advance(windows)
        report(run.step, terms)
        if run.step % recipe.evaluate_every_steps == 0 or run.step == recipe.steps:
            facts = judge(run.averaged(), validation).as_facts()
            line = {"step": run.step, "seconds": round(time.monotonic() - began, 1), **terms, **facts}
            with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            checkpoint.save(latest, run.state())
    facts = facts or judge(run.averaged(), validation).as_facts()
    facts |= {"recipe": recipe.name, "version": recipe.version, "seed": recipe.seed, "steps": recipe.steps}
    facts["sources"] = read_sources(work / "train")
    facts |= {"train_clips": recipe.train_families * FAMILY_CLIPS, "front_end": front_end.parameters()}
    checkpoint.save_model(folder / checkpoint.FINAL, run.averaged(), recipe.size, facts)
    return folder / checkpoint.FINAL

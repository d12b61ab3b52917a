"""One training step as a LightningModule: model, loss, AdamW, one cycle, averages; a step depends on its number.

A batch is a function of (recipe, step), and so is the random state of the step. A run that was interrupted, has another
number of loading processes, or is started again therefore takes the same steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset, Sampler

from livemos.training import models
from livemos.training.batches import Batch, Windows
from livemos.training.models.base import SpeechQualityNet
from livemos.training.objectives import family_loss
from livemos.training.ranks import normalise_over_ranks, share, together
from livemos.training.recipe import Recipe
from livemos.training.simulator import FAMILY_CLIPS

_LIKELIHOOD_FROM = 2 / 3  # of the steps: first the mean, then how far it is off
_GRADIENT_NORM = 1.0


class StepBatches(Dataset[Batch]):
    """The batch of each step, by its number."""

    def __init__(self, windows: Windows, recipe: Recipe) -> None:
        self.windows, self.recipe = windows, recipe

    def __getitem__(self, step: int) -> Batch:
        return self.windows.training_batch(self.recipe, step)


class StepsFrom(Sampler[int]):
    """first, first + 1 and so on to `end`; without a length, since an epoch means nothing here."""

    def __init__(self, first: int, end: int) -> None:
        self.first, self.end = first, end

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.end))


def _average_with(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """An exponential average that is shorter at the start, so that the weights drawn at random are soon forgotten."""

    def average(kept: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        if not kept.is_floating_point():
            return new
        steps = int(count)
        return torch.lerp(kept, new, 1.0 - min(decay, (1 + steps) / (10 + steps)))

    return average


class Fitting(LightningModule):
    """A run of one recipe; step 0 has weights drawn from the recipe's seed.

    task_weights: learnable weights of the loss, or None. Called with the terms of the loss it returns their total. Its
    parameters are optimised without decay and kept in the run's checkpoint; they are no part of the model.
    """

    def __init__(
        self, recipe: Recipe, windows: Windows, *, task_weights: nn.Module | None = None, loaders: int = 0
    ) -> None:
        super().__init__()
        torch.manual_seed(recipe.seed)
        self.recipe, self.windows, self.loaders = recipe, windows, loaders
        self.model = models.build(recipe.size, *windows.feature_statistics())
        self.average = AveragedModel(self.model, avg_fn=_average_with(recipe.average_decay), use_buffers=True)
        self.average.requires_grad_(False)
        self.task_weights = task_weights

    def configure_model(self) -> None:
        """Several processes share their batch statistics."""
        if self.trainer.world_size > 1:
            normalise_over_ranks(self.model)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches from the step where the run stands."""
        steps = StepsFrom(self.global_step, self.recipe.steps)
        batches = StepBatches(self.windows, self.recipe)
        # spawned processes would copy the table
        context = "fork" if self.loaders else None
        return DataLoader(
            batches, batch_size=None, sampler=steps, num_workers=self.loaders, multiprocessing_context=context
        )

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """All tensors of a batch; Lightning itself refuses frozen records."""
        return batch if device.type == "cpu" else to_device(batch, device)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """The total to descend, as "loss", and every term by name."""
        rank, ranks = self.global_rank, self.trainer.world_size
        # from step and rank alone, so that a resumed run drops out the same units as one that never stopped
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.global_step + (rank << 40))
        self.model.train()
        outputs = together(self.model(share(batch.features, rank, ranks)).float(), rank, ranks)
        clips = self.recipe.batch_families * FAMILY_CLIPS
        with torch.autocast(self.device.type, enabled=False):
            terms = family_loss(
                outputs.reshape(clips, self.recipe.windows_per_clip, -1),
                batch.targets,
                self.recipe.weights,
                family_clips=FAMILY_CLIPS,
                with_likelihood=self.global_step >= _LIKELIHOOD_FROM * self.recipe.steps,
            )
            if self.task_weights is not None:
                terms["total"] = self.task_weights({name: term for name, term in terms.items() if name != "total"})
        return {"loss": terms["total"], "terms": {name: term.detach() for name, term in terms.items()}}

    def configure_optimizers(self) -> Any:
        """AdamW with decay on matrices alone, one cycle over the steps of the recipe."""
        matrices = [value for value in self.model.parameters() if value.ndim > 1]
        others = [value for value in self.model.parameters() if value.ndim <= 1]
        others += [] if self.task_weights is None else list(self.task_weights.parameters())
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
        peak = self.recipe.peak_learning_rate
        optimizer = torch.optim.AdamW(groups, lr=peak, weight_decay=self.recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=self.recipe.steps, pct_start=0.15)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """The model's gradient as one vector; task weights have no part in its length."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _GRADIENT_NORM)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """A step of the optimiser, then one of the averaged weights: before any checkpoint is written."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.average.update_parameters(self.model)

    def averaged(self) -> SpeechQualityNet:
        """The averaged model on the CPU, in evaluation mode, for judging and for the final file."""
        module = self.average.module
        assert isinstance(module, SpeechQualityNet)
        return (module if self.device.type == "cpu" else deepcopy(module).cpu()).eval()


def to_device(record: Any, device: torch.device) -> Any:
    """A copy of a record of tensors, and of records of tensors, on `device`."""
    if isinstance(record, Tensor):
        return record.to(device)
    if is_dataclass(record) and not isinstance(record, type):
        return type(record)(**{each.name: to_device(getattr(record, each.name), device) for each in fields(record)})
    return record

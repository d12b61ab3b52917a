"""A recipe carried out by Lightning: evaluated, logged and saved every few steps, resumable from the latest save."""

from __future__ import annotations

import importlib.util
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from livemos.agent.errors import ConfigError
from livemos.agent.features import LogMel
from livemos.training import checkpoint as store
from livemos.training.batches import Windows
from livemos.training.evaluate import balance_causes, calibrate_doubt, judge
from livemos.training.fitting import Fitting
from livemos.training.objectives import make_task_weights
from livemos.training.recipe import Recipe
from livemos.training.simulator import FAMILY_CLIPS
from livemos.training.tables import read_sources, read_table, require_tables

Report = Callable[[int, dict[str, float]], None]
LOG = "log.jsonl"
_IDENTITY = "livemos_recipe"  # key of a checkpoint
_TENSORBOARD_EVERY_STEPS = 10
_SILENT: dict[str, Any] = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where and how a recipe runs. On the CPU in 32 bits none of this changes what is learnt by more than rounding,
    but for the units that drop out, which each process draws for itself.
    """

    accelerator: str = "auto"  # "cpu", "gpu", or "auto": a GPU where there is one
    devices: int = 1  # processes, each with its share of the families of a step
    precision: str = "32-true"  # or "bf16-mixed"
    loaders: int = 0  # processes that prepare batches
    checkpoint_every_steps: int | None = None  # None: with each evaluation


class AtomicFile(CheckpointIO):
    """Lightning's checkpoints through `store.save` and `store.load`: never half a file, nothing unpickled."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Replace `path`."""
        store.save(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """The content of `path`, on the CPU. Raises ConfigError."""
        return store.load(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Nothing is left at `path`."""
        Path(path).unlink(missing_ok=True)


class Keeper(Callback):
    """Reports each step; evaluates, logs and saves when it is time. Only the first process writes."""

    def __init__(
        self, folder: Path, recipe: Recipe, validation: Windows, report: Report, checkpoint_every_steps: int | None
    ) -> None:
        self.folder, self.recipe, self.validation, self.report = folder, recipe, validation, report
        self.checkpoint_every_steps = checkpoint_every_steps or recipe.evaluate_every_steps
        self.began = time.monotonic()
        self.facts: dict[str, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The log loses lines of steps that will be taken again."""
        if trainer.is_global_zero:
            self.began = time.monotonic()
            cut_log(self.folder / LOG, trainer.global_step)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Mapping[str, Any] | torch.Tensor | None,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """After the optimiser, the schedule and the averaged weights have taken the step."""
        assert isinstance(pl_module, Fitting) and isinstance(outputs, Mapping)
        step, last = trainer.global_step, trainer.global_step == self.recipe.steps
        if trainer.is_global_zero:
            terms = {name: float(term) for name, term in outputs["terms"].items()}
            if trainer.logger is not None and step % _TENSORBOARD_EVERY_STEPS == 0:
                trainer.logger.log_metrics({f"loss/{name}": term for name, term in terms.items()}, step)
            if step % self.recipe.evaluate_every_steps == 0 or last:
                self._evaluate(trainer, pl_module, step, terms)
            self.report(step, terms)
        if step % self.checkpoint_every_steps == 0 or last:
            trainer.save_checkpoint(self.folder / store.LATEST)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """The recipe travels with the weights."""
        checkpoint[_IDENTITY] = repr(self.recipe)

    def _evaluate(self, trainer: Trainer, fitting: Fitting, step: int, terms: dict[str, float]) -> None:
        self.facts = judge(fitting.averaged(), self.validation).as_facts()
        line = {"step": step, "seconds": round(time.monotonic() - self.began, 1), **terms, **self.facts}
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        if trainer.logger is not None:
            numbers = {name: value for name, value in self.facts.items() if isinstance(value, (int, float))}
            trainer.logger.log_metrics({f"validation/{name}": value for name, value in numbers.items()}, step)


def cut_log(log: Path, step: int) -> None:
    """Leave the lines of `log` up to `step`, where there is a log."""
    if not log.exists():
        return
    # what follows the last end of a line was being written when the process was ended
    whole = log.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
    kept = [line for line in whole if json.loads(line)["step"] <= step]
    log.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _resumable(latest: Path, recipe: Recipe) -> Path | None:
    """`latest` where it belongs to `recipe`; None where a run begins at step 0. Raises ConfigError."""
    if not latest.exists():
        return None
    return latest if store.load(latest).get(_IDENTITY) == repr(recipe) else None


@contextmanager
def _quietly() -> Iterator[None]:
    """Without Lightning's hints; what is wrong it still says."""
    logs = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # batches are made in the training process unless --loaders asks for more
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # Lightning's own use of torch
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.. is deprecated.*")
        try:
            yield
        finally:
            for log, level in zip(logs, levels, strict=True):
                log.setLevel(level)


def _tensorboard(folder: Path, begins_at_step: int) -> TensorBoardLogger | bool:
    """Curves in folder/tensorboard; False, said once, where tensorboard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        logging.getLogger(__name__).warning(
            "tensorboard is not installed: losses go to %s alone; pip install 'livemos[train]'", folder / LOG
        )
        return False
    return TensorBoardLogger(folder, name="tensorboard", version="", purge_step=begins_at_step + 1)


def _require(machine: Machine) -> None:
    """Raises ConfigError for what Lightning does not know or does not find here."""
    try:
        Trainer(**_hardware(machine), max_epochs=-1, logger=False, **_SILENT)
    except (MisconfigurationException, ValueError) as refused:
        raise ConfigError(
            f"cannot train with --accelerator {machine.accelerator} --devices {machine.devices} --precision "
            f"{machine.precision}: {' '.join(str(refused).split())}"
        ) from refused


def _hardware(machine: Machine) -> dict[str, Any]:
    return {
        "accelerator": machine.accelerator,
        "devices": machine.devices,
        "strategy": "auto" if machine.devices == 1 else "ddp",
        "precision": machine.precision,
    }


def _make_trainer(
    recipe: Recipe,
    machine: Machine,
    callbacks: list[Callback],
    folder: Path,
    resumed: Path | None,
) -> Trainer:
    """`recipe.steps` steps, without epochs, progress bar, validation loop or checkpoints of Lightning's own."""
    begins_at_step = 0 if resumed is None else int(store.load(resumed)["global_step"])
    return Trainer(
        **_hardware(machine),
        max_steps=recipe.steps,
        max_epochs=-1,
        limit_val_batches=0,
        logger=_tensorboard(folder, begins_at_step),
        callbacks=callbacks,
        plugins=[AtomicFile()],
        **_SILENT,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )


def fit(
    recipe: Recipe,
    work: Path,
    report: Report,
    *,
    machine: Machine | None = None,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Train on the tables in `work`, from its latest checkpoint where there is one; the final model's path.

    `report(step, terms)` after each step, in the first process alone. Writes work/<recipe>/{latest.pt, model.pt,
    log.jsonl, tensorboard/}. Raises ConfigError.
    """
    machine = machine or Machine()
    if recipe.batch_families % machine.devices:
        raise ConfigError(
            f"{machine.devices} devices cannot share the {recipe.batch_families} families of a step of recipe "
            f"{recipe.name} equally; choose a divisor"
        )
    with _quietly():
        _require(machine)
    require_tables(work, recipe)
    folder = work / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    front_end = LogMel()
    added = [read_table(work / each.name, each.families) for each in recipe.additions]
    table = read_table(work / "train", recipe.train_families)
    windows = Windows.of(table, front_end, added, bak_share=recipe.bak_share)
    validation = Windows.of(read_table(work / "val", recipe.validation_families), front_end)
    task_weights = make_task_weights(learned=recipe.learned_task_weights)
    fitting = Fitting(recipe, windows, task_weights=task_weights, loaders=machine.loaders)
    keeper = Keeper(folder, recipe, validation, report, machine.checkpoint_every_steps)
    resumed = _resumable(folder / store.LATEST, recipe)
    with _quietly():
        trainer = _make_trainer(recipe, machine, [keeper, *callbacks], folder, resumed)
        trainer.fit(fitting, ckpt_path=resumed)
    if trainer.is_global_zero:
        model = fitting.averaged()
        balance_causes(model, windows)
        doubt = calibrate_doubt(model, validation)
        facts = judge(model, validation).as_facts()
        facts |= {name: round(value, 4) for name, value in asdict(doubt).items()}
        facts |= {"recipe": recipe.name, "version": recipe.version, "seed": recipe.seed, "steps": recipe.steps}
        facts["bak_share"] = recipe.bak_share
        facts["sources"] = read_sources(work / "train")
        facts |= {"train_clips": windows.families * FAMILY_CLIPS, "front_end": front_end.parameters()}
        store.save_model(folder / store.FINAL, model, recipe.size, facts)
    return folder / store.FINAL

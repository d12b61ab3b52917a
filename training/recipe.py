"""What a training run is made of. A run is a Recipe, the data folder and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

from livemos.training.augment import Augmentation
from livemos.training.models import Size
from livemos.training.models.conformer import ConformerSize
from livemos.training.objectives import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A further table of training clips, drawn from a seed and a set of damages of its own, that joins on the way.

    joins_at: share of the steps after which its families are heard too. Validation clips stay those of the recipe.
    """

    name: str  # of its folder in the work folder, and of its kept labels
    seed: int
    families: int
    damage_set: str
    joins_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Sizes in families of four clips; windows are 1 s. clips_of: the folder of their kept labels."""

    name: str
    version: str
    seed: int
    train_families: int
    validation_families: int
    steps: int
    batch_families: int
    windows_per_clip: int
    peak_learning_rate: float
    weight_decay: float
    average_decay: float
    gain_db: float  # augmentation, both ways
    evaluate_every_steps: int
    damage_set: str = "first"  # of livemos.training.damages.DAMAGE_SETS
    size: Size = field(default_factory=ConformerSize)
    weights: Weights = field(default_factory=Weights)
    learned_task_weights: bool = False  # homoscedastic, objectives.TaskWeights
    augmentation: Augmentation | None = None
    additions: tuple[Addition, ...] = ()  # in the order in which they join
    clips_of: str = ""  # "": that of the name
    bak_share: float = 0.0  # of DNSMOS P.835 in the noisiness of clips with noise, training/p835.py

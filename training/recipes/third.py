"""The model before: the clips `second`, heard with other voices and microphones, and `third_added`, which joins later.

`livemos-third 0.3` heard them with the labels of commit b72763d; labels have changed since, and the version with them.
24,576 clips of 7 s = 48 h of the set of damages `second`, simulated and labelled at about 0.2 s a clip and core; kept
labels (--kept training/labels_data) leave 25 core-minutes. 4,096 more, of the set `third` (vocoders), are heard from
0.6 of the steps on: 7,200 steps pass the first table 9.4 times, 4,800 pass both together 5.4 times.
"""

from __future__ import annotations

from livemos.training.augment import Augmentation
from livemos.training.models.residual import ResidualSize
from livemos.training.recipe import Addition, Recipe

RECIPE = Recipe(
    name="third",
    version="0.3.1",
    seed=2_002,
    clips_of="second",
    train_families=6_144,
    validation_families=480,
    additions=(Addition(name="third_added", seed=3_003, families=1_024, damage_set="third", joins_at=0.6),),
    steps=12_000,
    batch_families=8,
    windows_per_clip=4,
    peak_learning_rate=2e-3,
    weight_decay=0.02,
    average_decay=0.999,
    gain_db=6.0,
    evaluate_every_steps=1_500,
    damage_set="second",
    size=ResidualSize(),
    augmentation=Augmentation(),
)

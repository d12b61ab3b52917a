"""The second data set, wider than the first.   livemos train label --data DIR --work DIR --recipe second

24,576 clips of 7 s = 48 h, simulated and labelled at about 0.2 s a clip and core; kept labels (--kept
training/labels_data) leave 20 core-minutes. 12,000 steps of 8 families x 4 clips x 4 windows = 15.6 passes.
"""

from __future__ import annotations

from livemos.training.models.convolutional import ConvolutionalSize
from livemos.training.recipe import Recipe

RECIPE = Recipe(
    name="second",
    version="0.2",
    seed=2_002,
    train_families=6_144,
    validation_families=480,
    steps=12_000,
    batch_families=8,
    windows_per_clip=4,
    peak_learning_rate=2e-3,
    weight_decay=0.02,
    average_decay=0.999,
    gain_db=6.0,
    evaluate_every_steps=1_500,
    damage_set="second",
    size=ConvolutionalSize(stem_channels=16),
)

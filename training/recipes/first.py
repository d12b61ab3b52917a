"""The first shipped model.   livemos train all --data DIR --work DIR --recipe first

16,000 clips of 7 s = 31 h, simulated and labelled at about 0.1 s a clip and core: 27 core-minutes.
A step hears 8 families x 4 clips x 4 windows = 128 s; 500 steps pass every family once.
5,000 steps = 10 passes = 640,000 windows = 178 h heard.
Figures are in docs/results/, written by `livemos train probe` and `livemos train evaluate`.
"""

from __future__ import annotations

from livemos.training.recipe import Recipe

RECIPE = Recipe(
    name="first",
    version="0.1",
    seed=1,
    train_families=4_000,
    validation_families=192,
    steps=5_000,
    batch_families=8,
    windows_per_clip=4,
    peak_learning_rate=2e-3,
    weight_decay=0.02,
    average_decay=0.998,
    gain_db=6.0,
    evaluate_every_steps=250,
)

"""The clips of recipe `third` for a network of twice the multiply-adds.

    livemos train label --data DIR --work DIR --recipe wide --kept training/labels_data
    livemos train fit --work DIR --recipe wide

9,000 steps pass both tables 10 times.
"""

from __future__ import annotations

from dataclasses import replace

from livemos.training.models.residual import ResidualSize
from livemos.training.recipes import third

assert third.RECIPE.addition is not None
RECIPE = replace(
    third.RECIPE,
    name="wide",
    addition=replace(third.RECIPE.addition, joins_at=0.0),
    steps=9_000,
    size=ResidualSize(width=192),
)

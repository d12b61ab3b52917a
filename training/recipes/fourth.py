"""The clips of recipe `third`, and `fourth_added`: noise, real suppressors and MNRU on top of each other.

livemos train label --data DIR --work DIR --recipe fourth --kept training/labels_data
livemos train fit --work DIR --recipe fourth
"""

from __future__ import annotations

from dataclasses import replace

from livemos.training.recipe import Addition
from livemos.training.recipes import third

RECIPE = replace(
    third.RECIPE,
    name="fourth",
    version="0.5",
    additions=(Addition(name="fourth_added", seed=4_004, families=1_280, damage_set="fourth"), *third.RECIPE.additions),
)

"""What ships: the clips of recipe `third` and `fourth_added`: noise, real suppressors and MNRU on top of each other.

    livemos train label --data DIR --work DIR --recipe fourth --kept training/labels_data
    livemos train fit --work DIR --recipe fourth

34,816 clips of 7 s = 68 h. `fourth_added` is heard from the first step, `third_added` from 0.6 of the steps on: 7,200
steps pass the first two tables 7.5 times, 4,800 pass all three 4.4 times. Voices and microphones vary more than in
`third`.
"""

from __future__ import annotations

from dataclasses import replace

from livemos.training.augment import Augmentation
from livemos.training.recipe import Addition
from livemos.training.recipes import third

RECIPE = replace(
    third.RECIPE,
    name="fourth",
    version="0.5",
    augmentation=Augmentation(warp_ratio=0.13, colour_db=2.5, share=0.8),
    additions=(Addition(name="fourth_added", seed=4_004, families=1_536, damage_set="fourth"), *third.RECIPE.additions),
)

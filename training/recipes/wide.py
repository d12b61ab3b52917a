"""What more would buy: the clips of recipe `third` for twice the multiply-adds, all of them from the first step on.

    livemos train label --data DIR --work DIR --recipe wide --kept training/labels_data
    livemos train fit --work DIR --recipe wide

12,000 steps pass both tables 13 times. docs/evaluation.md has it beside `third`: nearer to the labels of held-out clips
by 0.007 of correlation and no nearer to listeners, so it does not ship (`wide 0.4`: with the labels of commit b72763d,
which have changed since, and the version with them). Noisiness is labelled with a share of DNSMOS
P.835 (BAK), because votes on the background follow how a noise sounds and not its level alone.
"""

from __future__ import annotations

from dataclasses import replace

from livemos.training.models.residual import ResidualSize
from livemos.training.recipes import third

RECIPE = replace(
    third.RECIPE,
    name="wide",
    version="0.4.1",
    additions=tuple(replace(each, joins_at=0.0) for each in third.RECIPE.additions),
    bak_share=0.6,
    size=ResidualSize(width=192),
)

"""Every kind of damage by name. To add one: a frozen dataclass with `apply`, and a line here (CONTRIBUTING.md).

`stage` is its place on the way from mouth to ear: 0 room, 1 what is added, 2 device, 3 line, 4 what mutes the result.
`weight` is how often it is drawn. `colours`: its effect on the long-term spectrum counts as coloration. `at_rest`: what
stays of it at severity 0, where that is not nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from livemos.training.damages import additive, channel, transmission
from livemos.training.damages.track import Damage, Track
from livemos.training.sources import Library

__all__ = ["DAMAGES", "Damage", "Kind", "Track"]


def _nothing(damage: Damage) -> None:
    """Most damages leave nothing behind when they are not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a damage is drawn; severity 0 is just noticeable, 1 is as bad as calls get."""

    draw: Callable[[np.random.Generator, float, Library], Damage]
    weight: float
    stage: int
    colours: bool = False
    at_rest: Callable[[Damage], Damage | None] = _nothing


DAMAGES: dict[str, Kind] = {
    "reverberation": Kind(draw=channel.Reverberation.draw, weight=0.06, stage=0, colours=True),
    "noise": Kind(draw=additive.Noise.draw, weight=0.19, stage=1),
    "talker": Kind(draw=additive.Talker.draw, weight=0.05, stage=1),
    "hum": Kind(draw=additive.Hum.draw, weight=0.02, stage=1),
    "echo": Kind(draw=additive.Echo.draw, weight=0.05, stage=1),
    "clipping": Kind(draw=channel.Clipping.draw, weight=0.08, stage=2),
    "equaliser": Kind(draw=channel.Equaliser.draw, weight=0.03, stage=2, colours=True),
    "suppression": Kind(draw=channel.Suppression.draw, weight=0.05, stage=2, colours=True),
    "band": Kind(draw=channel.Band.draw, weight=0.06, stage=3, colours=True),
    "telephone": Kind(draw=channel.Telephone.draw, weight=0.03, stage=3, colours=True),
    "mnru": Kind(draw=channel.SpeechCorrelatedNoise.draw, weight=0.05, stage=3),
    "g711": Kind(draw=transmission.draw_g711, weight=0.03, stage=3, colours=True),
    "g722": Kind(draw=transmission.draw_g722, weight=0.01, stage=3, colours=True),
    "opus": Kind(draw=transmission.draw_opus, weight=0.06, stage=3, colours=True),
    "loss": Kind(draw=transmission.draw_loss, weight=0.26, stage=3, colours=True, at_rest=transmission.without_loss),
    "mutes": Kind(draw=channel.Mutes.draw, weight=0.03, stage=4),
}

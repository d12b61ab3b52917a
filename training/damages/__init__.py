"""Every kind of damage by name. To add one: a frozen dataclass with `apply`, and a line here (CONTRIBUTING.md).

`stage` is its place on the way from mouth to ear: 0 room, 1 what is added, 2 device, 3 line, 4 what mutes the result.
`weight` is how often it is drawn. `colours`: its effect on the long-term spectrum counts as coloration. `at_rest`: what
stays of it at severity 0, where that is not nothing. `cause` is what a listener would name. `held_out` kinds occur in
validation clips alone.

A recipe names a set of kinds (DAMAGE_SETS). The sets "first" and "second" made models and stay as they were, to the
sample; "third" is the second with speech that a codec makes again, a fifth of all ladders; "fourth" is mostly noise,
real noise suppressors and MNRU, on top of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from livemos.training.damages import (
    additive,
    channel,
    coding,
    concealed,
    suppressors,
    surroundings,
    terminal,
    timing,
    transmission,
    vocoded,
)
from livemos.training.damages.track import Damage, Track
from livemos.training.sources import Library

__all__ = ["BLIND_KINDS", "CAUSES", "DAMAGES", "DAMAGE_SETS", "Damage", "DamageSet", "Kind", "Track"]


CAUSES = ("noise", "loss", "clipping", "band", "level", "echo_or_talker", "reverberation", "codec")


def _nothing(damage: Damage) -> None:
    """Most damages leave nothing behind when they are not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a damage is drawn; severity 0 is just noticeable, 1 is as bad as calls get."""

    draw: Callable[[np.random.Generator, float, Library], Damage]
    weight: float
    stage: int
    cause: str
    colours: bool = False
    at_rest: Callable[[Damage], Damage | None] = _nothing
    local: bool = False  # touches some seconds and spares others
    held_out: bool = False
    blind: bool = False  # PESQ is wrong about it: every labeler hears its families


_FIRST: dict[str, Kind] = {
    "reverberation": Kind(draw=channel.Reverberation.draw, weight=0.06, stage=0, cause="reverberation", colours=True),
    "noise": Kind(draw=additive.Noise.draw, weight=0.19, stage=1, cause="noise"),
    "talker": Kind(draw=additive.Talker.draw, weight=0.05, stage=1, cause="echo_or_talker"),
    "hum": Kind(draw=additive.Hum.draw, weight=0.02, stage=1, cause="noise"),
    "echo": Kind(draw=additive.Echo.draw, weight=0.05, stage=1, cause="echo_or_talker"),
    "clipping": Kind(draw=channel.Clipping.draw, weight=0.08, stage=2, cause="clipping"),
    "equaliser": Kind(draw=channel.Equaliser.draw, weight=0.03, stage=2, cause="band", colours=True),
    "suppression": Kind(draw=channel.Suppression.draw, weight=0.05, stage=2, cause="codec", colours=True),
    "band": Kind(draw=channel.Band.draw, weight=0.06, stage=3, cause="band", colours=True),
    "telephone": Kind(draw=channel.Telephone.draw, weight=0.03, stage=3, cause="band", colours=True),
    "mnru": Kind(draw=channel.SpeechCorrelatedNoise.draw, weight=0.05, stage=3, cause="codec"),
    "g711": Kind(draw=transmission.draw_g711, weight=0.03, stage=3, cause="codec", colours=True),
    "g722": Kind(draw=transmission.draw_g722, weight=0.01, stage=3, cause="codec", colours=True),
    "opus": Kind(draw=transmission.draw_opus, weight=0.06, stage=3, cause="codec", colours=True),
    "loss": Kind(
        draw=transmission.draw_loss,
        weight=0.26,
        stage=3,
        cause="loss",
        colours=True,
        at_rest=transmission.without_loss,
        local=True,
    ),
    "mutes": Kind(draw=channel.Mutes.draw, weight=0.03, stage=4, cause="loss", local=True),
}


def _coded(codec: str) -> Callable[[np.random.Generator, float, Library], Damage]:
    return lambda rng, severity, library: coding.draw_coded(codec, severity)


_ADDED: dict[str, Kind] = {
    "room": Kind(draw=surroundings.Room.draw, weight=0.05, stage=0, cause="reverberation", colours=True),
    "made_up_noise": Kind(draw=surroundings.MadeUpNoise.draw, weight=0.05, stage=1, cause="noise"),
    "babble": Kind(draw=surroundings.Babble.draw, weight=0.04, stage=1, cause="noise"),
    "line_echo": Kind(draw=surroundings.ReturnedEcho.draw_line, weight=0.03, stage=1, cause="echo_or_talker"),
    "acoustic_echo": Kind(draw=surroundings.ReturnedEcho.draw_acoustic, weight=0.03, stage=1, cause="echo_or_talker"),
    "gain_pumping": Kind(draw=terminal.GainPumping.draw, weight=0.03, stage=2, cause="level"),
    "hard_suppression": Kind(draw=terminal.HardSuppression.draw, weight=0.05, stage=2, cause="codec", colours=True),
    "comfort_noise": Kind(draw=terminal.ComfortNoise.draw, weight=0.03, stage=2, cause="noise"),
    "front_clipping": Kind(draw=terminal.FrontClipping.draw, weight=0.03, stage=2, cause="loss", local=True),
    "offset": Kind(draw=terminal.Offset.draw, weight=0.01, stage=2, cause="level"),
    "edges": Kind(draw=channel.draw_edges, weight=0.03, stage=3, cause="band", colours=True),
    "g726": Kind(draw=_coded("g726"), weight=0.015, stage=3, cause="codec", colours=True),
    "amr_nb": Kind(draw=_coded("amr-nb"), weight=0.03, stage=3, cause="codec", colours=True),
    "g723_1": Kind(draw=_coded("g723.1"), weight=0.01, stage=3, cause="codec", colours=True),
    "adpcm": Kind(draw=_coded("adpcm"), weight=0.005, stage=3, cause="codec", colours=True),
    "celp_8": Kind(draw=_coded("celp-8"), weight=0.015, stage=3, cause="codec", colours=True),
    "aac": Kind(draw=_coded("aac"), weight=0.02, stage=3, cause="codec", colours=True),
    "mp3": Kind(draw=_coded("mp3"), weight=0.02, stage=3, cause="codec", colours=True),
    "tandem": Kind(draw=coding.draw_tandem, weight=0.04, stage=3, cause="codec", colours=True),
    "slips": Kind(draw=timing.Slips.draw, weight=0.03, stage=4, cause="loss", local=True),
    "time_scaling": Kind(draw=timing.TimeScaling.draw, weight=0.02, stage=4, cause="loss", local=True),
    "robotic": Kind(draw=timing.Robotic.draw, weight=0.03, stage=4, cause="loss", local=True),
    "wrong_rate": Kind(draw=timing.WrongRate.draw, weight=0.02, stage=4, cause="loss", local=True),
    "cut_out": Kind(draw=timing.CutOut.draw, weight=0.04, stage=4, cause="loss", local=True),
    "gaps": Kind(draw=timing.Gaps.draw, weight=0.04, stage=4, cause="loss", local=True),
    # never trained on
    "corridor": Kind(
        draw=surroundings.Room.draw_corridor, weight=0.08, stage=0, cause="reverberation", colours=True, held_out=True
    ),
    "gsm": Kind(draw=_coded("gsm"), weight=0.03, stage=3, cause="codec", colours=True, held_out=True),
    "speex": Kind(draw=_coded("speex"), weight=0.08, stage=3, cause="codec", colours=True, held_out=True),
    "noise_filled_loss": Kind(
        draw=concealed.NoiseFilledLoss.draw, weight=0.08, stage=3, cause="loss", local=True, held_out=True
    ),
}
# what the second set draws less or more often than the first
_WEIGHTS = {"noise": 0.13, "mutes": 0.02, "echo": 0.01, "loss": 0.2, "suppression": 0.03, "reverberation": 0.04}
_SECOND = {name: replace(kind, weight=_WEIGHTS.get(name, kind.weight)) for name, kind in (_FIRST | _ADDED).items()}
_REMADE: dict[str, Kind] = {
    "vocoder": Kind(draw=vocoded.Vocoder.draw, weight=0.16, stage=3, cause="codec", colours=True, blind=True),
    "pulse_vocoder": Kind(
        draw=vocoded.PulseVocoder.draw, weight=0.07, stage=3, cause="codec", colours=True, blind=True
    ),
    "holes": Kind(draw=vocoded.SpectralHoles.draw, weight=0.08, stage=3, cause="codec", colours=True),
    "codec2": Kind(draw=_coded("codec2"), weight=0.06, stage=3, cause="codec", colours=True, blind=True),
}
_THIRD = _SECOND | _REMADE
_REAL: dict[str, Kind] = {
    "suppressor": Kind(draw=suppressors.Suppressor.draw, weight=0.5, stage=2, cause="noise", blind=True),
}
# what tests with listeners are made of: noise with and without a real suppressor, and speech-correlated noise, together
_LISTENED = {"noise": 0.4, "made_up_noise": 0.15, "mnru": 0.35, "babble": 0.1}
_FOURTH = {name: replace(kind, weight=_LISTENED.get(name, 0.4 * kind.weight)) for name, kind in _THIRD.items()} | _REAL
DAMAGES: Mapping[str, Kind] = _THIRD | _REAL
BLIND_KINDS = frozenset(name for name, kind in DAMAGES.items() if kind.blind)


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageSet:
    """The kinds of a data set. flat: kinds with nothing to rise with, in base conditions alone.

    no_speech_every: each so many-th family is without speech; `no_speech` says which of its two makers is used.
    undamaged_ratio: of the families, nothing in their base condition. held_out_sources: repositories whose recordings
    only validation hears.
    """

    name: str
    kinds: Mapping[str, Kind]
    flat: frozenset[str]
    no_speech_every: int
    varied_no_speech: bool
    undamaged_ratio: float = 0.6
    held_out_sources: frozenset[str] = field(default_factory=frozenset)

    def drawn(self, *, held_out: bool) -> dict[str, Kind]:
        """What may be drawn: `held_out` kinds too, or not."""
        return {name: kind for name, kind in self.kinds.items() if held_out or not kind.held_out}


_SECOND_SET = DamageSet(
    name="second",
    kinds=_SECOND,
    flat=frozenset({"g711", "g722", "g723_1", "adpcm", "celp_8", "gsm", "offset"}),
    no_speech_every=8,
    varied_no_speech=True,
    held_out_sources=frozenset({"marc-moreaux/kitchen20", "notthetup/auralizr"}),
)

DAMAGE_SETS: dict[str, DamageSet] = {
    "first": DamageSet(
        name="first", kinds=_FIRST, flat=frozenset({"g711", "g722"}), no_speech_every=9, varied_no_speech=False
    ),
    "second": _SECOND_SET,
    "third": replace(_SECOND_SET, name="third", kinds=_THIRD),
    "fourth": replace(_SECOND_SET, name="fourth", kinds=_FOURTH, undamaged_ratio=0.35),
}

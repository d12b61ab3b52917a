"""MODEL_CARD.md of a bundle, from the facts a training run left."""

from __future__ import annotations

from typing import Any

_FACTS = ("network", "recipe", "seed", "steps", "train_clips", "clips", "pearson", "rmse", "clean_bias")
_TEXT = """# {name} {version}

Reference-free quality of speech, 1 s at a time: MOS, noisiness, coloration, discontinuity, loudness (1 to 5, higher is
better), the share of active speech (0 to 1), the standard deviation of the MOS, and the likeliest cause of a low score.

Licence: Apache-2.0 (weights), trained on CC0, CC BY, Apache, MIT and public domain material.

## Network
{network} Features: log-mel ({frames} x {bands}). {parameters:,} weights, {multiply_adds:,} multiply-adds a segment.

## Labels
No listener's vote was used in training. MOS is a mean of PESQ-WB of simulated clips against their clean originals (on
the unmapped scale, on a straight line to 1 to 5, less formulas for linear colour, level and the noise of the source
recording) and of public reference-free models under permissive licences (Distill-MOS, the ConferencingSpeech 2022
baselines, DNSMOS Pro), by kind of damage. Where damage is local (lost packets, mutes, gaps) a window is labelled by its
own share of it. Dimensions, speech share and cause are the simulator's own truth{shared_noisiness}.
docs/model.md has the formulas.

## Figures
{steps:,} steps on {train_clips:,} simulated clips (recipe {recipe}, seed {seed}). On {clips} simulated clips of other
voices, noises and rooms: Pearson {pearson:.3f}, RMSE {rmse:.2f} against the labels; undamaged clips are off by
{clean_bias:+.2f} on average. Written by `livemos train all --recipe {recipe}`. Beside listeners, on unseen generators
and under known damage: docs/evaluation.md and docs/results/.

## Limits
Trained on read and dictated speech of about 130 talkers, most of them English. Deaf to what no second of sound shows:
delay, wrong words, missing words. Long gaps, echo, phase damage of vocoders and neural codecs are judged poorly.
The scale is anchored to clean speech at 4.5 and to the deviation of Distill-MOS, not to votes: compare scores with each
other before you compare them with a panel. Where the share of speech is low the other outputs mean nothing; the
gate ({gate}) leaves them unset.

## Material
{sources}
"""
_SHARED_NOISINESS = """; where there is noise,
DNSMOS P.835 (BAK, MIT licence) has a share of {:g} in the noisiness"""


def model_card(name: str, version: str, facts: dict[str, Any], counts: dict[str, int], gate: float) -> bytes:
    """The card's text; `counts`: parameters, multiply_adds, frames, bands; the fact "network" is a sentence on it.
    The fact "bak_share" may be missing: checkpoints of runs without such a share have none.

    Raises KeyError when a fact is missing.
    """
    sources = "\n".join(f"- {line}" for line in facts["sources"])
    fields = {key: facts[key] for key in _FACTS}
    share = float(facts.get("bak_share", 0.0))
    fields["shared_noisiness"] = _SHARED_NOISINESS.format(share) if share > 0 else ""
    return _TEXT.format(name=name, version=version, sources=sources, gate=gate, **counts, **fields).encode()

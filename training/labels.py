"""From the truth of a simulated clip to what the network shall say: MOS, four dimensions and speech presence.

MOS starts from PESQ-WB (ITU-T P.862.2) against the clean reference. PESQ's output mapping flattens the bottom, so its
inverse is taken first (P.862.2 eq. 1) and a straight line leads to a listener's scale. What PESQ aligns away, linear
colour and level, is taken off by formula. Where reference-free teachers heard the table they share in the label
(training/blend.py). The dimensions come from the simulator's truth, coloration also from what codecs, suppressors,
speech-correlated noise and clipping cost, and from noise that covers the voice. Each formula is a judgement, written
down here once; docs/model.md says how they were chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from livemos.agent.causes import NOISINESS_MIDDLE_DB, NOISINESS_SCALE_DB
from livemos.training import blend, p835
from livemos.training.damages import CAUSES
from livemos.training.effects import effects_on

Array = npt.NDArray[np.float64]

# line from the unmapped PESQ scale to MOS: clean is 4.5, and the slope is the ratio of the deviations of Distill-MOS
# and of the unmapped scale over the clips that both heard (`livemos train labels` prints it: 0.62)
MOS_OFFSET, MOS_SLOPE = 1.7, 0.62
LEVEL_RANGE_DBOV = (-36.0, -16.0)  # inside it a listener does not mark the level down
_LEVEL_PENALTY_PER_DB = 0.045
# a narrow band costs more than PESQ says beside wide-band speech, any colour beyond 3.5 dB costs something
_COLOUR_FREE_DB, _COLOUR_PENALTY_PER_DB, _COLOUR_PENALTY_LIMIT = 3.5, 0.055, 0.6
CLEAN_MOS = 4.5
_LEAST_HEARD_RATIO = 0.05  # below it a window is a pause that says nothing
_PAUSE_WEIGHT = 0.2  # of a window with hardly any speech, beside 1 of one full of it


def unmapped_pesq(pesq_wb: Array) -> Array:
    """Scores of P.862.2, 1.0 to 4.64, on the raw scale, about -0.5 to 4.5."""
    inside = np.clip(pesq_wb, 1.01, 4.64)
    return np.asarray((3.8224 - np.log(4.0 / (inside - 0.999) - 1.0)) / 1.3669)


def mos_from_pesq(pesq_wb: Array) -> Array:
    """PESQ-WB on the listener's scale, 1 to 5."""
    return np.asarray(np.clip(MOS_OFFSET + MOS_SLOPE * unmapped_pesq(pesq_wb), 1.0, 5.0))


def colour_db(response_db: Array) -> Array:
    """(..., F) response -> (...) mean absolute difference of the mel bands, an overall gain taken out, in dB."""
    capped = np.maximum(response_db, response_db.max(axis=-1, keepdims=True) - 35.0)
    return np.asarray(np.abs(capped - np.median(capped, axis=-1, keepdims=True)).mean(axis=-1))


def level_penalty(level_dbov: Array) -> Array:
    """MOS lost to an active level outside LEVEL_RANGE_DBOV."""
    low, high = LEVEL_RANGE_DBOV
    beyond = np.maximum(low - level_dbov, 0.0) + np.maximum(level_dbov - high, 0.0)
    return np.asarray(_LEVEL_PENALTY_PER_DB * beyond)


def loudness(level_dbov: Array) -> Array:
    """Best from -29 to -19 dBov active level; about 2.8 at -46 and 3.5 at -8."""
    lost = 0.105 * np.maximum(-29.0 - level_dbov, 0.0) + 0.1 * np.maximum(level_dbov + 19.0, 0.0)
    return np.asarray(np.clip(4.6 - lost, 1.0, 5.0))


def noisiness(noise_db: Array) -> Array:
    """From A-weighted noise to active speech: 4.3 at -40 dB, 3.8 at -30, 2.9 at -20, 2.0 at -10, 1.5 at 0.

    The slope is that of DNSMOS P.835's BAK over noises that were added to clean speech.
    """
    return np.asarray(1.0 + 3.8 / (1.0 + np.exp((noise_db + NOISINESS_MIDDLE_DB) / NOISINESS_SCALE_DB)))


def added_noise_db(columns: dict[str, npt.NDArray[np.generic]]) -> Array:
    """(C, W) noise to speech of a label table without what the recordings have in their pauses, at least -60 dB.

    The level of pauses holds breath and rooms too: neither BAK nor SIG of DNSMOS P.835 differs between undamaged
    recordings whose pauses lie 25 dB below the speech and such of 60 dB.
    """
    noise_db, source_snr_db = (np.asarray(columns[name], np.float64) for name in ("noise_db", "source_snr_db"))
    own = np.nan_to_num(10.0 ** (-source_snr_db / 10.0))[:, None]
    return np.asarray(10.0 * np.log10(np.maximum(10.0 ** (noise_db / 10.0) - own, 1e-6)))


def masking(noise_db: Array) -> Array:
    """What noise takes off the coloration: 0 below -15 dB, 0.7 at -5, 1.5 at 0; so SIG of DNSMOS P.835 falls."""
    return np.asarray(1.8 / (1.0 + np.exp(-(noise_db + 4.0) / 2.5)))


def discontinuity(gap_ratio: Array) -> Array:
    """From the share of active speech that is audibly missing: 4.5 at 1 %, 3.7 at 5 %, 2.9 at 10 %, 1.9 at 20 %."""
    return np.asarray(1.0 + 3.8 * np.exp(-7.0 * gap_ratio))


def coloration(colour: Array) -> Array:
    """From `colour_db`: 4.3 for a 7 kHz edge, 3.4 for 5 kHz, about 2.2 for a telephone band."""
    return np.asarray(1.0 + 3.8 * np.exp(-colour / 11.0))


def roughness(lost_mos: Array) -> Array:
    """Coloration of a voice that was worked on, from the MOS that this cost: 4.8 for none, 3.4 for 1, 2.0 for 2."""
    return np.asarray(np.clip(4.8 - 1.4 * lost_mos, 1.0, 5.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What a batch of clips shall give, all float32, before the level has its say. C clips, W windows.

    mos: (C,) of the clip and window_mos: (C, W), at a comfortable level; NaN where there is no speech.
    noisiness, coloration, discontinuity, speech_ratio: (C, W); level_dbov: (C,). `window_weight`: (C, W), how
    much a window says about quality, least in pauses, 0 where there is no speech at all. effects: (C, 8), MOS that each
    of CAUSES took off, level left out. loss_share: (C, W), how much of the effect of lost speech each window bears, 1
    on average, 0 where a local damage spared it. asked: (C,), True where reference-free teachers share in the label.
    """

    mos: npt.NDArray[np.float32]
    window_mos: npt.NDArray[np.float32]
    window_weight: npt.NDArray[np.float32]
    noisiness: npt.NDArray[np.float32]
    discontinuity: npt.NDArray[np.float32]
    coloration: npt.NDArray[np.float32]
    level_dbov: npt.NDArray[np.float32]
    speech_ratio: npt.NDArray[np.float32]
    effects: npt.NDArray[np.float32]
    loss_share: npt.NDArray[np.float32]
    asked: npt.NDArray[np.bool_]


def make_targets(
    columns: dict[str, npt.NDArray[np.generic]], scale_clips: int | None = None, bak_share: float = 0.0
) -> Targets:
    """Targets from the columns of a label table (training/tables.py), whole families of clips in their order.

    scale_clips: the scales of the teachers are taken from so many clips at the front; None for all. bak_share: of
    DNSMOS P.835 in the noisiness (training/p835.py); 0 leaves it to the simulator's truth.
    """
    value = {name: np.asarray(columns[name], np.float64) for name in _NUMBERS}
    colour = colour_db(value["response_db"])
    colour_penalty = np.clip(_COLOUR_PENALTY_PER_DB * (colour - _COLOUR_FREE_DB), 0.0, _COLOUR_PENALTY_LIMIT)
    mos = np.clip(mos_from_pesq(value["pesq_wb"]) - colour_penalty, 1.0, 5.0)
    basis = np.arange(len(mos)) < (len(mos) if scale_clips is None else scale_clips)
    full_reference = mos
    opinion = blend.ask(columns, mos, basis)
    window_apart = np.zeros_like(value["speech_ratio"])
    if opinion is not None:
        trust = blend.pesq_trust(columns)
        mos, stretch = blend.restored(
            mos, trust * mos + (1.0 - trust) * opinion.clip, columns["damages"] == "[]", basis
        )
        window_apart = stretch * (1.0 - trust)[:, None] * opinion.window
    effects = effects_on(mos, columns, CLEAN_MOS)
    share = loss_share(value["gap_ratio"], value["speech_ratio"])
    lost_here = effects[:, CAUSES.index("loss"), None] * (1.0 - share)
    window_mos = np.clip(np.clip(mos[:, None] + lost_here, 1.0, 5.0) + window_apart, 1.0, 5.0)
    # what is silent in the middle of a word is no speech, however much of it was said
    heard_ratio = value["speech_ratio"] * (1.0 - np.clip(value["gap_ratio"], 0.0, 1.0))
    present = np.isfinite(mos)[:, None] & (heard_ratio >= _LEAST_HEARD_RATIO)
    weight = _PAUSE_WEIGHT + (1.0 - _PAUSE_WEIGHT) * value["speech_ratio"]
    voice = effects[:, CAUSES.index("codec")] + 0.5 * effects[:, CAUSES.index("clipping")]
    noise_db = added_noise_db(columns)
    noise = noisiness(noise_db)
    if opinion is not None:
        noise = p835.with_bak(columns, noise, full_reference, basis, bak_share)
    own_colour = np.minimum(coloration(colour), roughness(voice))
    single = np.float32
    return Targets(
        mos=mos.astype(single),
        window_mos=window_mos.astype(single),
        window_weight=np.where(present, weight, 0.0).astype(single),
        noisiness=noise.astype(single),
        discontinuity=discontinuity(value["gap_ratio"]).astype(single),
        coloration=np.clip(own_colour[:, None] - masking(noise_db), 1.0, 5.0).astype(single),
        level_dbov=value["level_dbov"].astype(single),
        speech_ratio=heard_ratio.astype(single),
        effects=effects.astype(single),
        asked=np.zeros(len(mos), np.bool_) if opinion is None else opinion.asked,
        loss_share=share.astype(single),
    )


_NUMBERS = ("pesq_wb", "level_dbov", "response_db", "speech_ratio", "gap_ratio")
_MOST_SHARE, _HEARD_SPEECH_RATIO = 2.5, 0.15


def loss_share(gap_ratio: Array, speech_ratio: Array) -> Array:
    """(C, W) how much of what lost speech cost its clip each window bears: 1 on average over windows with speech.

    The share of a window is that of its missing speech; a window that nothing touched has none, so its label is what
    the clip would have got without that damage. Where nothing audible is missing in speech, all windows bear the same.
    """
    active = (speech_ratio >= _HEARD_SPEECH_RATIO).astype(np.float64)
    count = np.maximum(active.sum(axis=1, keepdims=True), 1.0)

    def average(values: Array) -> Array:
        return np.asarray((values * active).sum(axis=1, keepdims=True) / count)

    missing = average(gap_ratio)
    share = np.minimum(gap_ratio / np.maximum(missing, 1e-9), _MOST_SHARE)
    return np.where(missing > 0.0, share / np.maximum(average(share), 1e-6), 1.0)

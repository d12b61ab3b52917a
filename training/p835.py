"""Noisiness as DNSMOS P.835 hears it, mixed into what the simulator knows.

The simulator knows how loud a noise is and not how it sounds: a fan and a crowd of one level annoy differently. DNSMOS
P.835 was trained on votes on the background (BAK). A recipe may give it a share in the noisiness of clips with noise
(`Recipe.bak_share`); where no noise was added it has none. Clips it was not asked about get a ridge regression, as in
training/blend.py. Its other score, SIG, falls with noise as much as with colour, so it has no share in the coloration.
"""

from __future__ import annotations

import numpy as np

from livemos.training import blend
from livemos.training.blend import Mask
from livemos.training.effects import Array, Columns

_QUIET, _NOISY = 4.6, 3.6  # noisiness of the truth: at the first BAK has no share, from the second on all of it


def with_bak(columns: Columns, noisiness: Array, pesq_mos: Array, basis: Mask, share: float) -> Array:
    """(C, W) noisiness of the truth -> the same with BAK's share; windows keep what sets them apart from their clip.

    share: 0 to 1, of BAK in a clip with clear noise. pesq_mos: (C,), NaN without speech. basis: (C,) the clips that
    the scale is taken from.
    """
    if not share or "dnsmos_bak" not in columns:
        return noisiness
    speech = np.asarray(columns["speech_ratio"], np.float64) + 1e-3
    own = np.average(noisiness, axis=1, weights=speech)
    noisy_ratio = np.clip((_QUIET - own) / (_QUIET - _NOISY), 0.0, 1.0)
    bak = np.asarray(columns["dnsmos_bak"], np.float64)
    labelled = np.isfinite(pesq_mos)
    asked = basis & labelled & np.isfinite(bak) & (noisy_ratio > 0.0)
    if asked.sum() < blend.LEAST_ASKED:
        return noisiness
    scaled = own[asked].mean() + own[asked].std() / bak[asked].std() * (bak - bak[asked].mean())
    truth = np.column_stack([blend.truth_of(columns, pesq_mos), own, own**2])
    shift = np.nan_to_num(blend.completed(scaled, asked, labelled, truth) - own)
    return np.asarray(np.clip(noisiness + (share * noisy_ratio * shift)[:, None], 1.0, 5.0))

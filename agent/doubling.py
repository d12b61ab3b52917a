"""Twice the sample rate by a half-band filter, the same in every bit however the input is cut.

Every second output is an input sample; those between are sums of 64 weighted inputs: a sinc under a Kaiser window with
beta 9, the filter FFmpeg's resampler has at `filter_size=64`. Inputs are rounded to 2**-20 (-126 dB, exact for what a
16-bit codec gives) and weights to 2**-24, so that below a level of 64 each sum is exact in double precision: no order
of summation, and no library's choice of one, changes a bit.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from livemos.agent.records import Samples

TAPS = 64
HELD_BACK_SAMPLES = TAPS // 2  # inputs that wait for those behind them: 4 ms at 8 kHz
_KAISER_BETA = 9.0
_BLOCK = 32  # outputs of one row of the matrix product
_ROUND_INPUT = 1.5 * 2.0**32  # added and taken away again, it leaves a double a multiple of 2**-20
_WEIGHT_UNIT = 2.0**-24


def _weights() -> npt.NDArray[np.float64]:
    place = np.arange(TAPS) - (TAPS - 1) / 2
    window = np.i0(_KAISER_BETA * np.sqrt(1.0 - (2.0 * place / TAPS) ** 2)) / np.i0(_KAISER_BETA)
    return np.asarray(np.rint(np.sinc(place) * window / _WEIGHT_UNIT) * _WEIGHT_UNIT)


def _matrix() -> npt.NDArray[np.float64]:
    """(TAPS + _BLOCK - 1, _BLOCK): a row of inputs to the _BLOCK outputs between them."""
    matrix = np.zeros((TAPS + _BLOCK - 1, _BLOCK))
    for column, weights in enumerate(np.broadcast_to(_weights(), (_BLOCK, TAPS))):
        matrix[column : column + TAPS, column] = weights
    return matrix


_MATRIX = _matrix()


class RateDoubler:
    """One stream's state; before its first sample lies silence. Not finite samples spoil the 4 ms on either side."""

    def __init__(self) -> None:
        self._tail: Samples = np.zeros(TAPS - 1, np.float32)
        self._early = HELD_BACK_SAMPLES  # outputs still to come that lie before the first input

    def push(self, samples: Samples) -> Samples:
        """(N,) float32 -> the 2 N samples that lie HELD_BACK_SAMPLES inputs earlier, less those before the first."""
        count, rows = len(samples), -(-len(samples) // _BLOCK)
        inputs = np.zeros(rows * _BLOCK + TAPS - 1)
        inputs[: TAPS - 1] = self._tail
        inputs[TAPS - 1 : TAPS - 1 + count] = samples
        doubled = np.empty((count, 2), np.float32)
        doubled[:, 0] = inputs[HELD_BACK_SAMPLES - 1 : HELD_BACK_SAMPLES - 1 + count]
        self._tail = inputs[count : count + TAPS - 1].astype(np.float32)
        spoilt = None if math.isfinite(inputs.dot(inputs)) else ~np.isfinite(inputs)
        if spoilt is not None:
            inputs[spoilt] = 0.0
        inputs += _ROUND_INPUT
        inputs -= _ROUND_INPUT
        # rows that overlap; what NumPy has for it takes five times as long to make
        windows = np.ndarray((rows, len(_MATRIX)), np.float64, inputs.data, 0, (8 * _BLOCK, 8))
        doubled[:, 1] = (windows @ _MATRIX).reshape(-1)[:count]
        if spoilt is not None:
            reach = np.convolve(spoilt, np.ones(TAPS), "valid")[:count]
            doubled[reach > 0.5, 1] = np.nan
        early = min(self._early, count)
        self._early -= early
        return doubled[early:].reshape(-1)

"""The standard deviation of a mean over seconds of one stream, for windows, clips, training and judging alike.

Errors of two seconds of a stream go together in part (the voice, the line, what the model never learnt), and in part
they are each second's own. Of the mean variance v of n seconds the mean keeps v * (r + (1 - r) / n), where r is the
bundle's `error_correlation`: 1 takes all errors for one and the same. Segments that overlap count by their seconds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from livemos.agent.records import SEGMENT_SECONDS, STRIDE_SECONDS

Float64 = npt.NDArray[np.float64]
_LEAST_SQUARE = 1e-24  # no weight at all


def effective_seconds(weight: Float64, squared_weight: Float64) -> Float64:
    """Seconds that count, at least 1, from the sums (any shape) of segments' weights and of their squares.

    Kish (Survey Sampling, 1965): weights w are worth (sum w)^2 / sum w^2 equal ones; so many segments in a row last
    half a second each, and half a second more.
    """
    segments = weight**2 / np.maximum(squared_weight, _LEAST_SQUARE)
    return np.maximum(1.0, STRIDE_SECONDS * segments + (SEGMENT_SECONDS - STRIDE_SECONDS))


def std_of_mean(mean_variance: Float64, weight: Float64, squared_weight: Float64, error_correlation: float) -> Float64:
    """Of a weighted mean of segments' mos, from their mean variance under the same weights; sums as above."""
    own = (1.0 - error_correlation) / effective_seconds(weight, squared_weight)
    return np.sqrt(mean_variance * (error_correlation + own))

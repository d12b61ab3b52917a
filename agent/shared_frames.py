"""Features of live segments: the frames that two segments of a stream share are computed once.

A segment begins half a segment after the one before, so its first frames are the other's last. They are kept, one set a
stream, and used when the very next segment of that stream comes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from livemos.agent.features import LogMel
from livemos.agent.records import Samples

Float32 = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]


class SharedFrames:
    """For `streams` rows; a stream is its row, and a segment its index in the stream. One thread at a time."""

    def __init__(self, log_mel: LogMel, *, streams: int, segment_samples: int, stride_samples: int) -> None:
        self._log_mel = log_mel
        self._frames = log_mel.frames(segment_samples)
        step, rest = divmod(stride_samples, log_mel.hop_samples)
        # a stride of broken frames shares none
        self._step = step if rest == 0 else self._frames
        self._shared = max(0, self._frames - self._step)
        self._tails = np.zeros((streams, self._shared, log_mel.mel_bands), np.float32)
        self._next = np.full(streams, -1, np.int64)  # index of the segment that a row's tail begins

    def __call__(self, segments: Samples, rows: Indices, indices: Indices) -> Float32:
        """(B, N) -> (B, T, F), as LogMel gives; no row twice, an index below 0 for what nothing goes on from."""
        features = np.empty((len(segments), self._frames, self._log_mel.mel_bands), np.float32)
        first = self._shared * self._log_mel.hop_samples
        goes_on = (self._next[rows] == indices) & (indices >= 0)
        if goes_on.all():
            features[:, : self._shared] = self._tails[rows]
            self._log_mel.into(segments[:, first:], features[:, self._shared :])
        else:
            features[goes_on, : self._shared] = self._tails[rows[goes_on]]
            features[goes_on, self._shared :] = self._log_mel(segments[goes_on, first:])
            features[~goes_on] = self._log_mel(segments[~goes_on])
        self._tails[rows] = features[:, self._step :]
        self._next[rows] = np.where(indices >= 0, indices + 1, -1)
        return features

    def forget(self, rows: Indices) -> None:
        """Nothing is kept of these streams: their segments were not looked at."""
        self._next[rows] = -1

"""Any sample rate to 16 kHz as a stream: FFmpeg's resampler with a filter long enough that no image or alias is heard.

Twice the rate, which is every telephone stream, is the same filter in NumPy (agent/doubling.py): an FFmpeg graph takes
1 ms and 0.3 MiB a stream to build, and twice as long to run.
The output depends on the input alone, not on how it was cut into calls. Held back are 4.1 ms at most (docs/audio.md has
the figures for each rate, and why soxr's stream, which holds back up to 115 ms, is not used here).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from livemos.agent.doubling import HELD_BACK_SAMPLES, RateDoubler
from livemos.agent.records import SAMPLE_RATE_HZ, Samples

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.filter import Graph
    from av.filter.context import FilterContext


def to_mono(samples: npt.NDArray[np.float32]) -> Samples:
    """(N,) as it is, (N, C) as the mean of its channels -> (N,): the one rule for stereo everywhere in livemos."""
    if samples.ndim == 1:
        return samples
    if samples.ndim != 2:
        raise ValueError(f"audio has the shape (N,) or (N, C), got {samples.shape}")
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)


class StreamResampler:
    """One stream's state. L samples pushed and flushed give round(L * to_hz / from_hz) samples, aligned with the input.

    A NaN or infinite sample spoils the 8 ms of output that its filter reaches and nothing after. Rates: 1,000 to
    384,000 Hz. Equal rates hand the input through without a copy.
    """

    # taps at the lower of the two rates. Upward, 64 keep the image of a 3,600 Hz tone below -100 dB at 4 ms; downward,
    # 128 let 7,600 Hz pass with 0.04 dB less and keep what folds back from 8,400 Hz below -90 dB, at 4.1 ms
    _upward, _downward = "filter_size=64", "filter_size=128:cutoff=0.985"

    def __init__(self, from_hz: int, to_hz: int = SAMPLE_RATE_HZ) -> None:
        if not (1_000 <= from_hz <= 384_000 and 1_000 <= to_hz <= 384_000):
            raise ValueError(f"sample rates lie between 1,000 and 384,000 Hz, got {from_hz} to {to_hz}")
        self.from_hz, self.to_hz = from_hz, to_hz
        self._graph: tuple[Graph, FilterContext, FilterContext] | None = None
        self._doubler = RateDoubler() if to_hz == 2 * from_hz else None
        self._pushed_samples = self._given_samples = 0

    def push(self, samples: Samples) -> Samples:
        """(N,) float32 at from_hz, any N -> what is ready, (M,) float32 at to_hz."""
        if self.from_hz == self.to_hz:
            return samples
        if not samples.size:
            return np.zeros(0, np.float32)
        self._pushed_samples += samples.size
        ready = self._through(samples)
        self._given_samples += ready.size
        return ready

    def flush(self) -> Samples:
        """The samples still held back, as if silence followed. The next push begins a new stream."""
        due = round(self._pushed_samples * self.to_hz / self.from_hz) - self._given_samples
        if due <= 0:
            self._restart()
            return np.zeros(0, np.float32)
        # silence behind the end instead of the filter's own flush, which gives nothing for input shorter than itself
        silence_samples = HELD_BACK_SAMPLES if self._doubler else 256 * max(1, -(-self.from_hz // self.to_hz))
        rest = self._through(np.zeros(silence_samples, np.float32))[:due]
        self._restart()
        return rest

    def _restart(self) -> None:
        self._graph = None
        self._doubler = RateDoubler() if self._doubler else None
        self._pushed_samples = self._given_samples = 0

    def _through(self, samples: Samples) -> Samples:
        return self._doubler.push(samples) if self._doubler else self._filtered(samples)

    def _filtered(self, samples: Samples) -> Samples:
        import av  # FFmpeg's libraries take 0.1 s to load: a stream at 16 kHz does not pay for them

        if self._graph is None:
            self._graph = self._build()
        _, entry, exit_ = self._graph
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples, np.float32)[None, :], format="flt", layout="mono"
        )
        frame.sample_rate = self.from_hz
        entry.push(frame)
        ready: list[Samples] = []
        while True:
            try:
                pulled = cast("AudioFrame", exit_.pull())
            except (av.BlockingIOError, av.EOFError):
                break
            # a view, which keeps its frame alive: PyAV's own copy costs as much as the resampling
            ready.append(np.frombuffer(cast("bytes", pulled.planes[0]), np.float32, pulled.samples))
        if len(ready) == 1:
            return ready[0]
        return np.concatenate(ready) if ready else np.zeros(0, np.float32)

    def _build(self) -> tuple[Graph, FilterContext, FilterContext]:
        """The graph comes along because its filters do not keep it alive: PyAV crashes when it is collected."""
        from av.filter import Graph

        graph = Graph()
        rate = self.from_hz
        entry = graph.add("abuffer", f"sample_rate={rate}:sample_fmt=flt:channel_layout=mono:time_base=1/{rate}")
        quality = self._upward if rate < self.to_hz else self._downward
        resample = graph.add("aresample", f"{self.to_hz}:{quality}")
        form = graph.add("aformat", "sample_fmts=flt:channel_layouts=mono")
        exit_ = graph.add("abuffersink")
        entry.link_to(resample)
        resample.link_to(form)
        form.link_to(exit_)
        graph.configure()
        return graph, entry, exit_

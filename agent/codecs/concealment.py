"""What a listener hears in place of a missing packet, for codecs without a concealment of their own.

A concealer sits behind a decoder: it sees every good block and makes the missing ones up. It never delays the good
signal, so the seams are smoothed on the made-up side and at the start of the next good block.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np

from livemos.agent.errors import CodecError
from livemos.agent.records import Samples


class Concealer(Protocol):
    """One stream's memory of what was heard last."""

    def heard(self, samples: Samples) -> Samples:
        """The good block as played: its first milliseconds may be blended with a concealed span before it."""
        ...

    def conceal(self, samples: int) -> Samples:
        """(samples,) float32 in place of that many missing ones; consecutive calls continue one another."""
        ...


class ZeroFill:
    """Silence: what the plainest receivers play."""

    def __init__(self, sample_rate_hz: int) -> None:
        del sample_rate_hz  # silence sounds alike at every rate

    def heard(self, samples: Samples) -> Samples:
        return samples

    def conceal(self, samples: int) -> Samples:
        return np.zeros(samples, np.float32)


class PacketRepetition:
    """The last packet again and again, unblended, silent after 60 ms: cheap phones and old gateways."""

    limit_seconds = 0.06

    def __init__(self, sample_rate_hz: int) -> None:
        self._limit_samples = round(self.limit_seconds * sample_rate_hz)
        self._last = np.zeros(1, np.float32)
        self._made_samples = 0

    def heard(self, samples: Samples) -> Samples:
        if samples.size:
            self._last, self._made_samples = samples, 0
        return samples

    def conceal(self, samples: int) -> Samples:
        position = np.arange(self._made_samples, self._made_samples + samples)
        self._made_samples += samples
        return np.where(position < self._limit_samples, self._last[position % self._last.size], np.float32(0.0))


class PitchRepetition:
    """The last pitch cycle again, fading out, in the manner of ITU-T G.711 Appendix I but without its 3.75 ms delay.

    Pitch of 5 to 15 ms by normalised correlation of the last 20 ms; full level for 10 ms, then 20 % less every 10 ms,
    silence after 60 ms. Seams: the step from the last good sample decays over a quarter cycle; the next good block is
    cross-faded from the continued cycle over a quarter cycle and 4 ms more per further 10 ms of gap, at most 10 ms.
    """

    history_seconds = 0.05
    template_seconds = 0.02
    shortest_lag_seconds, longest_lag_seconds = 0.005, 0.015

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate_hz = sample_rate_hz
        self._blocks: deque[Samples] = deque()
        self._held_samples = 0
        self._filling = False  # inside a gap
        self._cycle: Samples = np.zeros(1, np.float32)
        self._step = np.float32(0.0)
        self._made_samples = 0

    def heard(self, samples: Samples) -> Samples:
        if not samples.size:
            return samples
        if self._filling:
            samples = self._blend(samples)
            self._filling = False
        # keeping the blocks and not a joined history: joining costs only where a packet is missing
        self._blocks.append(samples)
        self._held_samples += samples.size
        needed = self._samples(self.history_seconds)
        while self._held_samples - self._blocks[0].size >= needed:
            self._held_samples -= self._blocks.popleft().size
        return samples

    def conceal(self, samples: int) -> Samples:
        if not self._filling:
            self._begin()
        made = self._continue(samples)
        self._made_samples += samples
        return made

    def _samples(self, seconds: float) -> int:
        return round(seconds * self._rate_hz)

    def _begin(self) -> None:
        history = np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.float32)
        self._filling, self._made_samples = True, 0
        lag = self._pitch_lag(history)
        if lag == 0:
            self._cycle, self._step = np.zeros(1, np.float32), np.float32(0.0)
            return
        cycle = history[-lag:].copy()
        quarter = max(1, lag // 4)
        rising = (np.arange(1, quarter + 1, dtype=np.float32)) / quarter
        # the end of the cycle turns into what came before its beginning, so that it repeats without a step
        cycle[-quarter:] += rising * (history[-lag - quarter : -lag] - cycle[-quarter:])
        self._cycle, self._step = cycle, history[-1] - history[-lag - 1]

    def _pitch_lag(self, history: Samples) -> int:
        """Lag in samples of the best normalised correlation; 0 when there is too little or no signal to repeat."""
        shortest, longest = self._samples(self.shortest_lag_seconds), self._samples(self.longest_lag_seconds)
        template_samples = min(self._samples(self.template_seconds), history.size - longest - 1)
        if template_samples < shortest or not np.isfinite(history).all():
            return 0
        template = history[-template_samples:]
        past = history[-template_samples - longest : history.size - shortest]
        likeness = np.correlate(past, template)  # likeness[i] belongs to lag longest - i
        running = np.concatenate([[0.0], np.cumsum(past.astype(np.float64) ** 2)])
        energy = running[template_samples:] - running[:-template_samples]
        if energy.max() <= 1e-9:
            return 0
        return longest - int(np.argmax(likeness / np.sqrt(energy + 1e-9)))

    def _continue(self, samples: int) -> Samples:
        position = np.arange(self._made_samples, self._made_samples + samples)
        made = self._cycle[position % self._cycle.size]
        quarter = max(1, self._cycle.size // 4)
        made += self._step * np.clip(1.0 - position / quarter, 0.0, 1.0).astype(np.float32)
        gain = np.clip(1.0 - (position / self._rate_hz - 0.01) * 20.0, 0.0, 1.0)
        return np.asarray(made * gain, np.float32)

    def _blend(self, samples: Samples) -> Samples:
        gap_seconds = self._made_samples / self._rate_hz
        overlap_seconds = self._cycle.size / 4 / self._rate_hz + 0.4 * max(0.0, gap_seconds - 0.01)
        overlap = min(samples.size, max(1, self._samples(min(0.01, overlap_seconds))))
        rising = np.arange(1, overlap + 1, dtype=np.float32) / (overlap + 1)
        blended = samples.copy()
        blended[:overlap] = samples[:overlap] * rising + self._continue(overlap) * (1.0 - rising)
        return blended


CONCEALERS: dict[str, Callable[[int], Concealer]] = {
    "pitch": PitchRepetition,
    "repeat": PacketRepetition,
    "zero": ZeroFill,
}


def make_concealer(name: str, sample_rate_hz: int) -> Concealer:
    """Raises CodecError for a name that is not in CONCEALERS."""
    if name not in CONCEALERS:
        raise CodecError(f'no concealment is called "{name}"; choose one of {", ".join(sorted(CONCEALERS))}')
    return CONCEALERS[name](sample_rate_hz)

"""Time as an argument: stages take a Clock, so tests and replays hold it in their hand."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds for durations, Unix seconds for labels."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    def unix(self) -> float:
        """Seconds since 1970-01-01 UTC, to label events."""
        ...

    def sleep_until(self, monotonic_seconds: float) -> None:
        """Return once `monotonic()` has reached the argument."""
        ...


class SystemClock:
    """The machine's clock. Unix time is taken once and carried on by the monotonic clock, so labels never jump back."""

    def __init__(self) -> None:
        self._offset_seconds = time.time() - time.monotonic()

    def monotonic(self) -> float:
        return time.monotonic()

    def unix(self) -> float:
        return time.monotonic() + self._offset_seconds

    def sleep_until(self, monotonic_seconds: float) -> None:
        remaining = monotonic_seconds - time.monotonic()
        if remaining > 0:
            time.sleep(remaining)


class ManualClock:
    """A clock that moves only when told: for tests and for replays faster than real time."""

    def __init__(self, *, monotonic: float = 0.0, unix: float = 1_700_000_000.0) -> None:
        self._now = monotonic
        self._offset_seconds = unix - monotonic

    def monotonic(self) -> float:
        return self._now

    def unix(self) -> float:
        return self._now + self._offset_seconds

    def sleep_until(self, monotonic_seconds: float) -> None:
        self._now = max(self._now, monotonic_seconds)

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds` >= 0."""
        if seconds < 0:
            raise ValueError(f"a clock does not go back: advance({seconds})")
        self._now += seconds

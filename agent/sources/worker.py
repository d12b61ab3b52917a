"""The one thread of a source: named, stopped within a second, its end waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable

STOP_SECONDS = 1.0


class Worker:
    """Runs `work` once in a daemon thread. `work` returns soon after `stopping` is set, or when the source ends."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self.stopping = threading.Event()
        self._work = work
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"livemos-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Idempotent; returns after STOP_SECONDS even when the thread is stuck in a device or a pipe."""
        self.stopping.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(STOP_SECONDS)

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """True once `work` has returned."""
        return self._ended.wait(timeout_seconds)

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._ended.set()

"""The one thread of a source: named, stopped within a second, its end waited for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from livemos.agent.errors import SourceError

STOP_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Worker:
    """Runs `work` once in a daemon thread. `work` returns soon after `stopping` is set, or when the source ends.

    A SourceError of `work` is one line in the log; `failed` says afterwards that the source ended before its time.
    """

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self.stopping = threading.Event()
        self.failed = False
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
        except SourceError as error:
            self.failed = True
            _log.error("%s", error)  # a file at fault, not the code: no traceback
        except BaseException:
            self.failed = True
            raise
        finally:
            self._ended.set()

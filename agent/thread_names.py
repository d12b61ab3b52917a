"""Names of threads as the system shows them (top -H, perf, livemos bench rtp); Python 3.11 keeps its own to itself."""

from __future__ import annotations

import contextlib
from pathlib import Path


def show_name(name: str) -> None:
    """Name the calling thread; the system keeps 15 characters. Without effect where there is no /proc."""
    with contextlib.suppress(OSError):
        Path("/proc/thread-self/comm").write_text(name[:15], encoding="ascii", errors="replace")

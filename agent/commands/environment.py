"""What a result was measured on: a figure without its machine, versions and commit is hearsay."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def environment() -> dict[str, object]:
    """Processor, cores, system, versions and, in a checkout, the commit."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "livemos": version("livemos"),
        "numpy": version("numpy"),
        "onnxruntime": version("onnxruntime"),
        "commit": _commit(),
    }


def append_results(file: Path, benchmark: str, row: Mapping[str, object]) -> None:
    """Add one line of JSON: the row with where it was measured."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"benchmark": benchmark, **row, "environment": environment()}) + "\n")


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str | None:
    """Of the working directory, where it is a checkout; marked when files differ from it."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()

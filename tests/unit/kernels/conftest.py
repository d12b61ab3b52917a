"""Runs the scripts of this folder: Triton is interpreted, or compiles for absent GPUs, in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Rows = list[dict[str, Any]]


@pytest.fixture(scope="session")
def rows_of() -> Callable[..., Rows]:
    """rows_of(script, **environment): the JSON lines that a script of this folder prints."""

    def run(script: str, **environment: str) -> Rows:
        ran = subprocess.run(
            [sys.executable, str(Path(__file__).with_name(script))],
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stderr[-2000:]
        return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]

    return run

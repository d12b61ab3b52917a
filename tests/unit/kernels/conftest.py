"""Runs the scripts of this folder: Triton is interpreted, or compiles for absent GPUs, each in its own process.

All that the session asks for start together: they are independent, and one after the other they were a third of the
whole test run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Rows = list[dict[str, Any]]

_LIMIT_SECONDS = 300
_COMPILED = {"TRITON_DEFAULT_FP_FUSION": "1", "TRITON_INTERPRET": "0", "TRITON_DISABLE_LINE_INFO": "1"}


@dataclass(frozen=True, slots=True)
class Script:
    """A file of this folder, the test file that asks for its rows, arguments and environment."""

    file: str
    asked_by: str
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = (("TRITON_INTERPRET", "1"),)


SCRIPTS = {
    "compiled, first half": Script(
        "compiled_kernels.py", "test_ahead_of_time.py", ("0", "2"), tuple(_COMPILED.items())
    ),
    "compiled, second half": Script(
        "compiled_kernels.py", "test_ahead_of_time.py", ("1", "2"), tuple(_COMPILED.items())
    ),
    "interpreted_asp": Script("interpreted_asp.py", "test_asp_fused.py"),
    "interpreted_log_mel": Script("interpreted_log_mel.py", "test_log_mel.py"),
}


@pytest.fixture(scope="session")
def rows_of(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Rows]]:
    """rows_of(name): the JSON lines that a script of SCRIPTS printed, once it has ended."""
    asking = {item.path.name for item in request.session.items}
    folder = tmp_path_factory.mktemp("kernels")
    running: dict[str, subprocess.Popen[bytes]] = {}
    for name, script in SCRIPTS.items():
        if script.asked_by in asking:
            out, err = (folder / f"{name}.{end}" for end in ("out", "err"))
            environment = {
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "TRITON_CACHE_DIR": str(folder / name),  # cold: what was compiled before is not what is tested
                **dict(script.environment),
            }
            command = [sys.executable, str(Path(__file__).with_name(script.file)), *script.arguments]
            with out.open("wb") as lines, err.open("wb") as errors:
                running[name] = subprocess.Popen(command, env=environment, stdout=lines, stderr=errors)

    def rows(name: str) -> Rows:
        code = running[name].wait(_LIMIT_SECONDS)
        assert code == 0, (folder / f"{name}.err").read_text()[-2000:]
        lines = (folder / f"{name}.out").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    yield rows
    for process in running.values():
        if process.poll() is None:
            process.kill()
            process.wait()

"""Processes that a test talks to: their lines are read as they come, and they end with the `with` block."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self


def free_port() -> int:
    """A UDP port of 127.0.0.1 that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Program:
    """`with Program(["janus", ...]) as janus: janus.wait_for_line("started")`; both outputs are one."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str] | None = None, folder: Path | None = None
    ) -> None:
        self._command = list(command)
        self._environment, self._folder = environment, folder
        self._changed = threading.Condition()
        self.lines: list[str] = []
        self._ended = False

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=None if self._environment is None else dict(self._environment),
            cwd=self._folder,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, name=self._command[0], daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait_for_line(self, pattern: str, timeout_seconds: float = 15.0) -> re.Match[str]:
        """The first line that holds `pattern`; fails with everything it said when it ends or stays silent."""
        found: list[re.Match[str]] = []

        def come() -> bool:
            found.extend(match for line in self.lines if (match := re.search(pattern, line)))
            return bool(found) or self._ended

        with self._changed:
            self._changed.wait_for(come, timeout_seconds)
        assert found, f"{self._command[0]} did not say {pattern!r}:\n" + "\n".join(self.lines[-40:])
        return found[0]

    def say(self, line: str) -> None:
        """One line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def finish(self, timeout_seconds: float = 30.0) -> None:
        """Wait for its own end; fails when that is not an exit of 0."""
        status = self._process.wait(timeout_seconds)
        self._reader.join(5)
        assert status == 0, f"{self._command[0]} ended with {status}:\n" + "\n".join(self.lines[-40:])

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask it to end, and kill what does not within 10 s."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._reader.join(5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

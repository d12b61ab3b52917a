"""Run every shell block of a Markdown file in order, as a reader would: a document whose commands fail is wrong.

A block whose preceding line begins with "*Not run by the gate:" is left out, and its reason is printed.
Usage: python .ci/readme_blocks.py README.md [--log FILE]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple, TextIO

MARK = "*Not run by the gate:"
LIMIT_SECONDS = 1_500


class Block(NamedTuple):
    """A fenced shell block, where it begins and why it is left out, if it is."""

    line: int
    script: str
    not_run: str | None


def shell_blocks(text: str) -> list[Block]:
    """The ```bash blocks of a Markdown text; raises ValueError for a fence that is never closed."""
    blocks: list[Block] = []
    lines = text.splitlines()
    index, before = 0, ""
    while index < len(lines):
        if lines[index].startswith("```"):
            language = lines[index][3:].strip()
            try:
                end = lines.index("```", index + 1)
            except ValueError:
                raise ValueError(f"line {index + 1}: a fence that is never closed") from None
            if language in ("bash", "sh", "shell", "console"):
                reason = before.removeprefix(MARK).strip(" *") if before.startswith(MARK) else None
                blocks.append(Block(index + 1, "\n".join(lines[index + 1 : end]), reason))
            index = end
        elif lines[index].strip():
            before = lines[index].strip()
        index += 1
    return blocks


def run(block: Block, where: str, log: TextIO) -> bool:
    """Run one block in bash with -e; its output goes to the console and to the log."""
    print(f"-- {where}:{block.line}: {block.script.splitlines()[0]}", flush=True)
    begun = time.monotonic()
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", block.script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    limit = threading.Timer(LIMIT_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
    limit.start()
    for line in process.stdout:
        log.write(line)
        sys.stdout.write(line)
    limit.cancel()
    code = process.wait()
    print(f"-- exit {code} after {time.monotonic() - begun:.0f} s", flush=True)
    return code == 0


def main() -> int:
    """0 when every block that is to run exited with 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--log", type=Path, required=True)
    given = parser.parse_args()
    with given.log.open("w", encoding="utf-8") as log:
        for file in given.files:
            for block in shell_blocks(file.read_text(encoding="utf-8")):
                if block.not_run is not None:
                    print(f"-- {file}:{block.line}: not run: {block.not_run}")
                elif not run(block, str(file), log):
                    print(f"{file}:{block.line}: this block failed", file=sys.stderr)
                    return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

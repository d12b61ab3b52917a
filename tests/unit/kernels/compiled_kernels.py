"""Runs in a process of its own: compiles every kernel for real GPUs without one; prints what it uses of each."""

from __future__ import annotations

import dataclasses
import json

from livemos.kernels.benchmarks.ahead_of_time import all_usages

for usage in all_usages():
    print(json.dumps(dataclasses.asdict(usage)))

"""Runs in a process of its own: compiles kernels for real GPUs without one; prints what each uses of each.

Usage: compiled_kernels.py PART OF: every OF-th variant from the PART-th on. Part 0 also assembles the plugin's PTX.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from triton.backends.nvidia.compiler import get_ptxas

from livemos.kernels.asp import plugin_kernel
from livemos.kernels.benchmarks.ahead_of_time import COMPUTE_CAPABILITIES, VARIANTS, usage_of

part, parts = int(sys.argv[1]), int(sys.argv[2])
for variant in VARIANTS[part::parts]:
    for compute_capability in COMPUTE_CAPABILITIES:
        print(json.dumps(dataclasses.asdict(usage_of(variant, compute_capability))))

if part == 0:
    kernel = plugin_kernel.plugin_kernel()
    facts = {"plugin": kernel.entry, "shared_bytes": kernel.shared_bytes, "paths": ".py" in kernel.ptx}
    print(json.dumps(facts | {"parameters": kernel.ptx.count(".param .u64") + kernel.ptx.count(".param .u32")}))
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "kernel.ptx"
        text.write_text(kernel.ptx)
        for compute_capability in COMPUTE_CAPABILITIES:
            assembler = get_ptxas(compute_capability).path
            command = [assembler, "-v", f"--gpu-name=sm_{compute_capability}", text, "-o", text.with_suffix(".cubin")]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
            spilled = "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" not in said
            print(json.dumps({"plugin_on": compute_capability, "spilled": spilled}))

"""Runs in a process of its own: compiles the fused kernel for real GPUs without one; prints what it uses of each.

The interpreter accepts what the compiler refuses (a loop variable that changes its type), so both have to be asked.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

from livemos.kernels.asp.fused import asp_forward_kernel


def main() -> None:
    cuobjdump = Path(get_ptxas(80).path).with_name("cuobjdump")
    for capability in (80, 90):
        for frames_type in ("fp32", "fp16"):
            signature = {
                "h_ptr": f"*{frames_type}",
                "e_ptr": "*fp32",
                "lengths_ptr": "*i32",
                "frames": "i32",
                "channels": "i32",
                "h_stride_b": "i64",
                "h_stride_t": "i64",
                "e_stride_b": "i64",
                "out_ptr": "*fp32",
                "EPS": "constexpr",
                "BLOCK_T": "constexpr",
                "BLOCK_D": "constexpr",
            }
            source = ASTSource(
                fn=asp_forward_kernel, signature=signature, constexprs={"EPS": 1e-6, "BLOCK_T": 32, "BLOCK_D": 64}
            )
            compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 4})
            with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
                file.write(compiled.asm["cubin"])
                file.flush()
                usage = subprocess.run(
                    [str(cuobjdump), "-res-usage", file.name], check=True, capture_output=True, text=True
                )
            print(json.dumps({"target": f"sm_{capability} {frames_type}", "usage": usage.stdout + usage.stderr}))


if __name__ == "__main__":
    main()

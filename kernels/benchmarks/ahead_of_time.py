"""Compiles every kernel for GPUs that are not there, and says what each uses of them.

Triton's interpreter accepts what the compiler refuses (a loop variable that changes its type) and knows nothing of
registers, so both have to be asked.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

from livemos.kernels.asp.fused import asp_backward_kernel, asp_forward_kernel
from livemos.kernels.log_mel.fused import frame_kernel, mel_kernel

# A100, A10/L40-class consumer 30 and 40 series, H100/H200, and the 50 series
COMPUTE_CAPABILITIES = (80, 86, 89, 90, 120)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One kernel with types and constants, as the launchers in asp/fused.py and log_mel/fused.py call it.

    Pointers and strides are divisible by 16, as a launch finds them where D is (96 in the default model); `awkward` is
    what a launch compiles for other sizes.

    registers_limit: per thread. 65,536 registers hold 16 blocks of 128 threads at 32, 8 at 64, 4 at 128; the kernels
    wait for memory, so a variant that grows past its limit loses the loads in flight that hide the waiting.
    """

    name: str
    kernel: Any
    types: dict[str, str]
    constants: dict[str, Any]
    registers_limit: int
    warps: int = 4
    awkward: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one variant uses of one GPU, per thread (registers, stack and local bytes) and per block (shared bytes)."""

    variant: str
    compute_capability: int
    registers: int
    stack_bytes: int
    local_bytes: int
    shared_bytes: int
    registers_limit: int


_ASP_SCALARS = {"frames": "i32", "channels": "i32", **dict.fromkeys(
    ("h_stride_b", "h_stride_t", "e_stride_b", "e_stride_t"), "i64"
)}  # fmt: skip


def _asp_forward(h: str, e: str, *, per_channel: bool, keep_state: bool, limit: int) -> Variant:
    return Variant(
        name=f"asp forward {h}{', a score a channel' if per_channel else ''}{', with state' if keep_state else ''}",
        kernel=asp_forward_kernel,
        types={
            "h_ptr": f"*{h}", "e_ptr": f"*{e}", "lengths_ptr": "*i32", **_ASP_SCALARS, "out_ptr": "*fp32",
            "state_ptr": "*fp32",
        },
        constants={"EPS": 1e-6, "PER_CHANNEL": per_channel, "KEEP_STATE": keep_state, "BLOCK_T": 32, "BLOCK_D": 64},
        registers_limit=limit,
    )  # fmt: skip


def _asp_backward(h: str, e: str, *, per_channel: bool, limit: int) -> Variant:
    return Variant(
        name=f"asp backward {h}{', a score a channel' if per_channel else ''}",
        kernel=asp_backward_kernel,
        types={
            "h_ptr": f"*{h}", "e_ptr": f"*{e}", "lengths_ptr": "*i32", "pooled_ptr": "*fp32", "state_ptr": "*fp32",
            "gradient_ptr": "*fp32", **_ASP_SCALARS, "to_h_ptr": f"*{h}", "to_e_ptr": f"*{e}",
        },
        constants={"PER_CHANNEL": per_channel, "BLOCK_T": 16, "BLOCK_D": 64},
        registers_limit=limit,
    )  # fmt: skip


def _frame(samples: str, scale: float) -> Variant:
    return Variant(
        name=f"log-mel frames {samples}",
        kernel=frame_kernel,
        types={
            "samples_ptr": f"*{samples}", "window_ptr": "*fp32", "frames": "i32", "stride_b": "i64",
            "hop_samples": "i32", "window_samples": "i32", "fft_samples": "i32", "out_ptr": "*fp32",
        },
        constants={"SCALE": scale, "BLOCK_T": 4, "BLOCK_W": 512},
        registers_limit=48,
    )  # fmt: skip


VARIANTS = (
    replace(
        _asp_forward("fp32", "fp32", per_channel=False, keep_state=False, limit=88),
        name="asp forward fp32, awkward sizes",
        awkward=True,
    ),
    _asp_forward("fp16", "fp32", per_channel=False, keep_state=False, limit=96),
    _asp_forward("fp32", "fp32", per_channel=False, keep_state=True, limit=80),
    _asp_forward("bf16", "bf16", per_channel=True, keep_state=True, limit=128),
    _asp_backward("fp32", "fp32", per_channel=False, limit=80),
    _asp_backward("bf16", "bf16", per_channel=True, limit=112),
    _frame("i16", 1.0 / 32768.0),
    Variant(
        name="log-mel power to bands",
        kernel=mel_kernel,
        types={
            "spectrum_ptr": "*fp32", "filters_ptr": "*fp32", "reach_ptr": "*i32", "rows": "i32", "bins": "i32",
            "bands": "i32", "out_ptr": "*fp32",
        },
        constants={"FLOOR": 1e-5, "BLOCK_M": 32, "BLOCK_K": 32, "BLOCK_F": 16},
        registers_limit=96,
    ),
)  # fmt: skip


def compile_variant(variant: Variant, compute_capability: int) -> Any:
    """Triton's compiled kernel: `asm` holds cubin and ptx. Raises what the compiler raises."""
    aligned = [k for k, (name, kind) in enumerate(variant.types.items()) if kind[0] == "*" or "stride" in name]
    source = ASTSource(
        fn=variant.kernel,
        signature={**variant.types, **dict.fromkeys(variant.constants, "constexpr")},
        constexprs=variant.constants,
        attrs={} if variant.awkward else {(k,): [["tt.divisibility", 16]] for k in aligned},
    )
    return triton.compile(
        source, target=GPUTarget("cuda", compute_capability, 32), options={"num_warps": variant.warps}
    )


def usage_of(variant: Variant, compute_capability: int) -> Usage:
    """Compiles, then asks the cuobjdump that comes with Triton."""
    compiled = compile_variant(variant, compute_capability)
    cuobjdump = Path(get_ptxas(compute_capability).path).with_name("cuobjdump")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        said = subprocess.run([str(cuobjdump), "-res-usage", file.name], check=True, capture_output=True, text=True)
    found = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", said.stdout + said.stderr)}
    return Usage(
        variant=variant.name,
        compute_capability=compute_capability,
        registers=found["REG"],
        stack_bytes=found["STACK"],
        local_bytes=found["LOCAL"],
        shared_bytes=compiled.metadata.shared,
        registers_limit=variant.registers_limit,
    )


def all_usages(compute_capabilities: tuple[int, ...] = COMPUTE_CAPABILITIES) -> Iterator[Usage]:
    """Every variant for every GPU, compiled as it is asked for."""
    for variant in VARIANTS:
        for compute_capability in compute_capabilities:
            yield usage_of(variant, compute_capability)

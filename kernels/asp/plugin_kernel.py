"""The forward kernel as PTX text for a plugin of TensorRT: compiled ahead of time, without a GPU.

PTX for sm_80 runs on every later GPU, because the driver compiles it there. Strides are 32-bit numbers that follow from
the shape, as TensorRT passes no others; a batch of up to 2**31 values fits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from livemos.kernels.asp.fused import asp_forward_kernel
from livemos.kernels.asp.reference import EPSILON

COMPUTE_CAPABILITY = 80
WARPS, BLOCK_T, BLOCK_D = 4, 32, 64
# in the order of the kernel's parameters; inputs, numbers, output, as TensorRT wants them
NUMBERS = ("frames", "channels", "h_stride_b", "h_stride_t", "e_stride_b", "e_stride_t")
TYPES = {
    "h_ptr": "*fp32",
    "e_ptr": "*fp32",
    "lengths_ptr": "*i32",
    **dict.fromkeys(NUMBERS, "i32"),
    "out_ptr": "*fp32",
}
_PTX_VERSION = 87  # what drivers of CUDA 12.8 read; the compiler's own choice may be newer than the driver
_HIDDEN = 2  # pointers to scratch memory that Triton adds behind the parameters; the kernel uses neither


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginKernel:
    """entry: name in the text. A block has 32 x WARPS threads; the grid is (B, ceil(D / BLOCK_D))."""

    entry: str
    ptx: str
    shared_bytes: int


def constants(epsilon: float) -> dict[str, Any]:
    """What is fixed when the kernel is compiled; a plugin's attributes are."""
    blocks = {"BLOCK_T": BLOCK_T, "BLOCK_D": BLOCK_D}
    return {"state_ptr": None, "EPS": epsilon, "PER_CHANNEL": False, "KEEP_STATE": False, **blocks}


def plugin_kernel(epsilon: float = EPSILON) -> PluginKernel:
    """Compiles the kernel. Raises what the compiler raises."""
    source = ASTSource(
        fn=asp_forward_kernel,
        signature={**TYPES, **dict.fromkeys(constants(epsilon), "constexpr")},
        constexprs=constants(epsilon),
    )
    options = {"num_warps": WARPS, "ptx_version": _PTX_VERSION}
    compiled = triton.compile(source, target=GPUTarget("cuda", COMPUTE_CAPABILITY, 32), options=options)
    entry = compiled.metadata.name
    return PluginKernel(
        entry=entry, ptx=strip_hidden(compiled.asm["ptx"], entry), shared_bytes=compiled.metadata.shared
    )


def strip_hidden(ptx: str, entry: str) -> str:
    """The text with the parameters that a caller knows of. ValueError where a hidden one is used, or none is there."""
    found = re.search(rf"\.entry {re.escape(entry)}\((.*?)\)", ptx, re.DOTALL)
    if found is None:
        raise ValueError(f"the PTX has no entry {entry}")
    parameters = [line.strip() for line in found[1].split(",")]
    if len(parameters) != len(TYPES) + _HIDDEN:
        raise ValueError(f"{entry} has {len(parameters)} parameters, expected {len(TYPES)} and {_HIDDEN} hidden ones")
    for hidden in parameters[len(TYPES) :]:
        name = hidden.split()[-1]
        if len(re.findall(rf"\b{re.escape(name)}\b", ptx)) != 1:
            raise ValueError(f"{entry} uses its hidden parameter {name}; it cannot be launched without")
    kept = ",\n\t".join(parameters[: len(TYPES)])
    return f"{ptx[: found.start(1)]}\n\t{kept}\n{ptx[found.end(1) :]}"

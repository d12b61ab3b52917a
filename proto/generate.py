"""Python modules from the .proto files, committed beside them.    python -m livemos.proto.generate [--check]

The messages' registered name stays livemos/quality/v1/quality.proto, as every other language sees it; only the import
line of the service module is rewritten to the Python package, because Python has no root named livemos/quality.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.resources
import sys
import tempfile
from pathlib import Path

# Generated code refuses a runtime older than its generator: 1.80.0 writes code for protobuf 6.31 (runs on 6.31 to 7.x)
# and for grpcio 1.80. A newer generator would shut users of protobuf 6 out.
TOOLS_VERSION = "1.80.0"
ROOT = Path(__file__).resolve().parent
SOURCES = ("livemos/quality/v1/quality.proto",)


def generate(out: Path) -> list[Path]:
    """Write the modules of all SOURCES under `out`; their paths relative to it. Raises RuntimeError."""
    found = importlib.metadata.version("grpcio-tools")
    if found != TOOLS_VERSION:
        raise RuntimeError(f"grpcio-tools {found} writes other code; run: pip install grpcio-tools=={TOOLS_VERSION}")
    from grpc_tools import protoc

    well_known = str(importlib.resources.files("grpc_tools") / "_proto")
    outputs = [f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}"]
    if protoc.main(["protoc", f"-I{ROOT}", f"-I{well_known}", *outputs, *SOURCES]) != 0:
        raise RuntimeError("protoc refused the files, see above")
    written = []
    for source in SOURCES:
        stem = source.removesuffix(".proto")
        stub = out / f"{stem}_pb2_grpc.py"
        package = Path(source).parent.as_posix().replace("/", ".")
        wanted = f"from {package.replace('livemos.', 'livemos.proto.', 1)} import"
        stub.write_text(stub.read_text().replace(f"from {package} import", wanted))
        written += [Path(f"{stem}{suffix}") for suffix in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")]
    return written


def stale_files() -> list[str]:
    """Committed files that differ from what the .proto files give now."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        return [
            path.as_posix()
            for path in generate(fresh)
            if not (ROOT / path).exists() or (ROOT / path).read_bytes() != (fresh / path).read_bytes()
        ]


def main(arguments: list[str] | None = None) -> int:
    """0 when done or in step, 1 when --check finds a difference, 2 when the generator cannot run."""
    parser = argparse.ArgumentParser(prog="python -m livemos.proto.generate", description="Python from .proto files.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a committed file is out of step")
    check = parser.parse_args(arguments).check
    if not all((ROOT / source).exists() for source in SOURCES):
        print(f"no .proto files under {ROOT}; run this in a checkout of livemos", file=sys.stderr)
        return 2
    try:
        stale = stale_files() if check else []
        if not check:
            generate(ROOT)
    except (RuntimeError, importlib.metadata.PackageNotFoundError) as problem:
        print(f"cannot generate: {problem}", file=sys.stderr)
        return 2
    for path in stale:
        print(f"proto/{path} is out of step with its .proto; run: python -m livemos.proto.generate", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

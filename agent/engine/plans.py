"""Compiled plans on disk: what a plan file says of itself, the checks before one is loaded, and the folder they are in.

A plan file is a line of text, a line of JSON and the plan. It is named by the sha256 of what decides its content: the
ONNX graph, the settings, the runtime's version and the GPUs it is for. `livemos export --plans BUNDLE` writes it; the
reader owns the format, because it must refuse. No pickle.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from livemos.agent.errors import EngineError

_MAGIC = b"livemos-plan 1\n"
_LONGEST_HEADER_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """What decides a plan beside its graph. Arithmetic is in the types the graph names: strongly typed, no TF32.

    compute_capabilities: of the GPUs it is for, "8.0". buckets: the largest batch of each profile, rising.
    """

    runtime: str
    version: str
    precision: str
    compute_capabilities: tuple[str, ...]
    buckets: tuple[int, ...] = (1, 16, 256)
    tf32: bool = False

    def key(self, graph_sha256: str) -> str:
        """64 hex digits; another for every other graph, setting, version or GPU."""
        document = json.dumps({"graph_sha256": graph_sha256, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(document.encode()).hexdigest()

    def profiles(self) -> list[tuple[int, int]]:
        """(smallest, largest) batch of each profile; together they cover 1 to the last bucket."""
        return [(low + 1, high) for low, high in zip((0, *self.buckets), self.buckets, strict=False)]

    def profile_of(self, batch: int) -> int:
        """Index of the profile that takes `batch` segments. ValueError where none does."""
        for index, (low, high) in enumerate(self.profiles()):
            if low <= batch <= high:
                return index
        raise ValueError(f"a batch of {batch} fits none of the profiles {self.profiles()}")


def sha256_of(data: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(data).hexdigest()


def encode_plan(plan: bytes, graph_sha256: str, settings: PlanSettings) -> bytes:
    """The content of a plan file."""
    header = {
        "graph_sha256": graph_sha256,
        "settings": asdict(settings),
        "plan_sha256": sha256_of(plan),
        "plan_bytes": len(plan),
    }
    return _MAGIC + json.dumps(header, sort_keys=True).encode() + b"\n" + plan


def read_plan(path: Path, graph_sha256: str, settings: PlanSettings, *, device: str | None, rebuild: str) -> bytes:
    """The plan in `path`, once all that can be checked without loading it is. Raises EngineError.

    device: compute capability of the GPU that is to run it, None where nobody asks. rebuild: the command to name.
    """

    def refuse(what: str) -> EngineError:
        return EngineError(f"plan {path}: {what}; build it again with: {rebuild}")

    try:
        content = path.read_bytes()
    except FileNotFoundError as missing:
        raise refuse("not found") from missing
    except OSError as failure:
        raise refuse(f"cannot be read ({failure.strerror})") from failure
    if not content:
        raise refuse("the file is empty")
    header, plan = _split(content, refuse)
    kept = header["settings"]
    if header["graph_sha256"] != graph_sha256:
        raise refuse("it belongs to another model (sha256 of the graph differs)")
    if (kept.get("runtime"), kept.get("version")) != (settings.runtime, settings.version):
        raise refuse(
            f"written by {kept.get('runtime')} {kept.get('version')}, this machine has "
            f"{settings.runtime} {settings.version}, which does not read it"
        )
    if device is not None and device not in kept.get("compute_capabilities", ()):
        built_for = ", ".join(kept.get("compute_capabilities", ())) or "none"
        raise refuse(f"it is for GPUs of compute capability {built_for}, this one has {device}")
    if tuple(kept.get("buckets", ())) != settings.buckets:
        raise refuse(f"it has profiles up to batches of {kept.get('buckets')}, wanted are {list(settings.buckets)}")
    if kept != json.loads(json.dumps(asdict(settings))):
        raise refuse("it was built with other settings")
    if len(plan) != header["plan_bytes"]:
        raise refuse(f"truncated: {len(plan):,} of {header['plan_bytes']:,} bytes")
    if sha256_of(plan) != header["plan_sha256"]:
        raise refuse("damaged (sha256 differs)")
    return plan


def _split(content: bytes, refuse: Callable[[str], EngineError]) -> tuple[dict[str, Any], bytes]:
    if not content.startswith(_MAGIC):
        raise refuse("this is no livemos plan")
    end = content.find(b"\n", len(_MAGIC), len(_MAGIC) + _LONGEST_HEADER_BYTES)
    if end < 0:
        raise refuse("truncated inside its header")
    try:
        header = json.loads(content[len(_MAGIC) : end])
        complete = {"graph_sha256", "settings", "plan_sha256", "plan_bytes"} <= set(header)
    except (ValueError, TypeError) as damaged:
        raise refuse("its header is damaged") from damaged
    if not complete or not isinstance(header["settings"], dict):
        raise refuse("its header is incomplete")
    return header, content[end + 1 :]


def default_folder() -> Path:
    """$XDG_CACHE_HOME/livemos/plans, ~/.cache by default."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "livemos" / "plans"


class PlanCache:
    """Plans in a folder, each in a file named by its key. Processes that start at once build a plan once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, graph_sha256: str, settings: PlanSettings) -> Path:
        """Where the plan of this graph and these settings is, or would be."""
        return self.folder / f"{settings.runtime}-{settings.precision}-{settings.key(graph_sha256)[:24]}.plan"

    def get_or_build(
        self, graph_sha256: str, settings: PlanSettings, build: Callable[[], bytes], *, rebuild: str
    ) -> tuple[Path, bool]:
        """The file of a sound plan, and whether it was built now. Who comes second waits and takes the first's."""
        path = self.path(graph_sha256, settings)
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            try:
                read_plan(path, graph_sha256, settings, device=None, rebuild=rebuild)
            except EngineError:
                publish(path, encode_plan(build(), graph_sha256, settings))
                return path, True
        return path, False


def publish(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: readers see the old one until the new one is on disk."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as partial:
        try:
            partial.write(content)
            partial.flush()
            os.fsync(partial.fileno())
            os.replace(partial.name, path)
        except BaseException:
            os.unlink(partial.name)
            raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Held by one process at a time; the system lets go of it when a process dies."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

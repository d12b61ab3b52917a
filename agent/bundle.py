"""The model bundle: a folder or a zip `NAME.livemos` with a manifest, a graph and what is known of them. No pickle.

    manifest.json    what this module's Manifest says
    model.onnx       log-mel features (B, T, F) float32 -> outputs (B, K) float32, in the units the manifest names
    model.fp16.onnx  the same with half-precision weights, and model.int8.onnx with 8-bit ones, where they were worth it
    MODEL_CARD.md    for people: data, licence, figures, limits
    parity.json      outputs of fixed audio, checked by `livemos export --check`

The reader owns the format, because it is the one that must refuse. The exporter writes through `write_bundle`.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from livemos.agent.errors import BundleError
from livemos.agent.features import LogMel
from livemos.agent.records import SAMPLE_RATE_HZ, SEGMENT_SAMPLES, STRIDE_SAMPLES

SCHEMA_VERSION = 1
GRAPH = "model.onnx"
DEFAULT_BUNDLE = "default.livemos"
FP32 = "fp32"
# what the agent reads out of a graph; a bundle may name more outputs, never fewer
REQUIRED_OUTPUTS = ("mos", "noisiness", "coloration", "discontinuity", "loudness", "speech_ratio", "mos_std")
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same content gives the same bytes
_LARGEST_FILE_BYTES = 256 * 2**20


class Strict(BaseModel):
    """Unknown keys are errors: a manifest of a later schema must not be half understood."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OutputSpec(Strict):
    """One column of the graph's output."""

    name: str
    unit: str  # "MOS", "ratio"
    minimum: float
    maximum: float


class FeatureSpec(Strict):
    """The front end the graph was trained with."""

    kind: Literal["log_mel"] = "log_mel"
    window_samples: int
    hop_samples: int
    fft_samples: int
    mel_bands: int
    minimum_hz: float
    maximum_hz: float
    floor: float

    def build(self) -> LogMel:
        """The feature extractor of these parameters."""
        return LogMel(**self.model_dump(exclude={"kind"}))


class GateSpec(Strict):
    """Thresholds that belong to the model because they read its outputs."""

    minimum_speech_ratio: Annotated[float, Field(ge=0, le=1)]


class GraphSpec(Strict):
    """A graph of the bundle, and how far its outputs in MOS lie from the float32 network in torch."""

    file: str
    precision: Literal["fp32", "fp16", "int8"]
    rms_mos: float  # of all outputs in MOS on the fixed audio of parity.json
    max_mos: float
    speech_rms_mos: float | None = None  # of the output "mos" on speech that no scale was set by, when exported


class Manifest(Strict):
    """What a bundle says of itself."""

    schema_version: Literal[1] = 1
    name: str
    version: str
    model_id: str
    licence: str
    sample_rate_hz: int
    segment_samples: int
    stride_samples: int
    features: FeatureSpec
    outputs: tuple[OutputSpec, ...]
    gate: GateSpec
    error_correlation: Annotated[float, Field(ge=0, le=1)] = 1.0  # of seconds of one stream (agent/doubt.py)
    opset: int
    precision: str = FP32  # of model.onnx
    graphs: tuple[GraphSpec, ...] = ()  # unset in bundles of model.onnx alone
    multiply_adds: int | None = None
    parameters: int | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, str]  # name -> sha256

    @model_validator(mode="after")
    def _fits_the_agent(self) -> Self:
        grid = (self.sample_rate_hz, self.segment_samples, self.stride_samples)
        if grid != (SAMPLE_RATE_HZ, SEGMENT_SAMPLES, STRIDE_SAMPLES):
            raise ValueError(
                f"segments of {grid[1]} samples every {grid[2]} at {grid[0]} Hz; this agent cuts "
                f"{SEGMENT_SAMPLES} every {STRIDE_SAMPLES} at {SAMPLE_RATE_HZ} Hz"
            )
        missing = [name for name in REQUIRED_OUTPUTS if name not in {output.name for output in self.outputs}]
        if missing:
            raise ValueError(f"outputs {', '.join(missing)} are not named")
        if GRAPH not in self.files:
            raise ValueError(f"{GRAPH} is not among the files")
        unlisted = [graph.file for graph in self.graphs if graph.file not in self.files]
        if unlisted:
            raise ValueError(f"{unlisted[0]} is a graph but not among the files")
        if self.model_id != model_id(self.name, self.version, self.files[GRAPH]):
            raise ValueError(f"model_id {self.model_id} does not follow from name, version and the graph's sha256")
        return self

    def column(self, name: str) -> int:
        """Index of output `name` in the graph's columns."""
        return [output.name for output in self.outputs].index(name)

    def graph_files(self) -> dict[str, str]:
        """File name by precision."""
        return {FP32: GRAPH} | {graph.precision: graph.file for graph in self.graphs}


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle read and verified: every file's sha256 is the manifest's."""

    manifest: Manifest
    files: Mapping[str, bytes]
    origin: str

    @property
    def graph(self) -> bytes:
        """The ONNX model."""
        return self.files[GRAPH]

    def graph_of(self, precision: str) -> bytes:
        """The ONNX model in another precision. Raises BundleError where the bundle has none."""
        files = self.manifest.graph_files()
        if precision not in files:
            raise BundleError(
                f"model bundle {self.origin}: it has no {precision} graph, only {', '.join(files)}; "
                f"choose one of these, or export it again"
            )
        return self.files[files[precision]]


def model_id(name: str, version: str, graph_sha256: str) -> str:
    """name-version-<first 12 hex digits of the graph's sha256>."""
    return f"{name}-{version}-{graph_sha256[:12]}"


def sha256(data: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(data).hexdigest()


def load_bundle(path: Path | None = None) -> Bundle:
    """The bundle at `path` (folder or zip), or the one inside the package. Raises BundleError."""
    if path is None:
        packaged = resources.files("livemos.agent") / "data" / DEFAULT_BUNDLE
        with resources.as_file(packaged) as file:
            return load_bundle(file)
    try:
        files = _read_folder(path) if path.is_dir() else _read_zip(path)
    except FileNotFoundError as missing:
        raise BundleError(f"model bundle {path}: not found; give a folder or a .livemos file") from missing
    except (OSError, zipfile.BadZipFile) as damaged:
        raise BundleError(f"model bundle {path}: cannot be read ({damaged}); export or copy it again") from damaged
    return _verify(files, str(path))


def _read_folder(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.iterdir()) if file.is_file()}


def _read_zip(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.file_size > _LARGEST_FILE_BYTES:
                raise BundleError(f"model bundle {path}: {entry.filename} has {entry.file_size} bytes, too large")
        return {name: archive.read(name) for name in archive.namelist()}


def _verify(files: Mapping[str, bytes], origin: str) -> Bundle:
    if "manifest.json" not in files:
        raise BundleError(f"model bundle {origin}: manifest.json is missing; this is no livemos bundle")
    try:
        manifest = Manifest.model_validate_json(files["manifest.json"])
    except ValidationError as invalid:
        first = invalid.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise BundleError(
            f"model bundle {origin}: manifest.json, {where}: {first['msg']}; "
            f"this agent reads schema version {SCHEMA_VERSION}: export the bundle again"
        ) from invalid
    for name, expected in manifest.files.items():
        if name not in files:
            raise BundleError(f"model bundle {origin}: {name} is named in the manifest but missing")
        if sha256(files[name]) != expected:
            raise BundleError(f"model bundle {origin}: {name} is damaged (sha256 differs); export or copy it again")
    return Bundle(manifest=manifest, files=dict(files), origin=origin)


def write_bundle(path: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write a zip whose bytes depend on its content alone, after verifying it as a reader would. Raises BundleError."""
    document = json.dumps(manifest.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
    contents = {"manifest.json": document.encode(), **files}
    bundle = _verify(contents, str(path))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(contents):
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), contents[name], zipfile.ZIP_DEFLATED)
    return bundle

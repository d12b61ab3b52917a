"""The bundle format, as reader and shipped model agree on it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livemos.agent.bundle import GRAPH, REQUIRED_OUTPUTS, load_bundle
from livemos.agent.engine.onnx_engine import OnnxEngine
from livemos.agent.errors import BundleError, EngineError
from livemos.agent.features import LogMel

SHIPPED = resources.files("livemos.agent") / "data" / "default.livemos"


@pytest.fixture
def parts() -> dict[str, bytes]:
    """The files of the shipped bundle."""
    with resources.as_file(SHIPPED) as file, zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, parts: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def edited(parts: dict[str, bytes], change: Callable[[dict[str, Any]], None]) -> dict[str, bytes]:
    manifest = json.loads(parts["manifest.json"])
    change(manifest)
    return {**parts, "manifest.json": json.dumps(manifest).encode()}


def test_the_shipped_bundle_is_whole_small_and_runs() -> None:
    """It is what every new installation scores with; the wheel promises at most 6 MB of it."""
    bundle = load_bundle()
    assert bundle.manifest.licence == "Apache-2.0"
    assert sum(len(content) for content in bundle.files.values()) < 6_000_000
    assert {"MODEL_CARD.md", "parity.json"} <= set(bundle.files)
    assert set(REQUIRED_OUTPUTS) <= {output.name for output in bundle.manifest.outputs}
    assert bundle.manifest.multiply_adds is not None
    assert bundle.manifest.multiply_adds < 12_000_000
    outputs = OnnxEngine(bundle).score(np.zeros((3, 98, 64), np.float32))
    assert outputs.shape == (3, len(bundle.manifest.outputs))
    assert np.isfinite(outputs).all()


def test_the_shipped_bundle_reproduces_its_recorded_outputs() -> None:
    """A runtime that computes something else on this machine must be noticed here, not on a call."""
    bundle = load_bundle()
    recorded = json.loads(bundle.files["parity.json"])
    front_end = bundle.manifest.features.build()
    silence = OnnxEngine(bundle).score(front_end(np.zeros((1, 16_000), np.float32)))
    assert front_end == LogMel()
    np.testing.assert_allclose(silence[0], recorded["outputs"]["silence"], atol=recorded["limit"])


def test_a_bundle_of_one_graph_runs_and_a_graph_it_lacks_is_refused(parts: dict[str, bytes], tmp_path: Path) -> None:
    """Bundles from before there were other precisions stay good; asking one for int8 is a clear mistake."""
    bundle = load_bundle(write(tmp_path / "old.livemos", edited(parts, lambda manifest: manifest.pop("graphs", None))))
    assert bundle.manifest.graph_files() == {"fp32": GRAPH}
    assert bundle.graph_of("fp32") == bundle.graph
    with pytest.raises(BundleError, match=r"old\.livemos: it has no int8 graph, only fp32"):
        bundle.graph_of("int8")


def test_a_folder_is_read_like_a_file(parts: dict[str, bytes], tmp_path: Path) -> None:
    """People unpack a bundle to look into it, and point the agent at what they see."""
    for name, content in parts.items():
        (tmp_path / name).write_bytes(content)
    assert load_bundle(tmp_path).manifest == load_bundle().manifest


@pytest.mark.parametrize("name", [GRAPH, "MODEL_CARD.md", "parity.json"])
def test_one_flipped_bit_is_refused(parts: dict[str, bytes], tmp_path: Path, name: str) -> None:
    """A half-copied model would score, and score wrongly."""
    damaged = bytearray(parts[name])
    damaged[len(damaged) // 2] ^= 1
    with pytest.raises(BundleError, match=f"{name} is damaged"):
        load_bundle(write(tmp_path / "damaged.livemos", {**parts, name: bytes(damaged)}))


@pytest.mark.parametrize("name", [GRAPH, "manifest.json", "parity.json"])
def test_a_missing_file_is_named(parts: dict[str, bytes], tmp_path: Path, name: str) -> None:
    """The message has to say which."""
    del parts[name]
    with pytest.raises(BundleError, match=name):
        load_bundle(write(tmp_path / "short.livemos", parts))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda manifest: manifest.update(schema_version=2), "schema"),
        (lambda manifest: manifest.update(surprise=1), "surprise"),
        (lambda manifest: manifest.update(sample_rate_hz=8_000), "8000"),
        (lambda manifest: manifest.update(segment_samples=32_000), "32000"),
        (lambda manifest: manifest["outputs"].pop(0), "mos"),
        (lambda manifest: manifest.update(model_id="livemos-first-0.1-000000000000"), "model_id"),
        (
            lambda manifest: manifest.update(
                graphs=[{"file": "model.fp16.onnx.old", "precision": "fp16", "rms_mos": 0.0, "max_mos": 0.0}]
            ),
            "not among the files",
        ),
        (
            lambda manifest: manifest.update(
                graphs=[{"file": GRAPH, "precision": "fp8", "rms_mos": 0.0, "max_mos": 0.0}]
            ),
            "graphs",
        ),
        (lambda manifest: manifest["gate"].update(minimum_speech_ratio=2.0), "gate"),
        (lambda manifest: manifest.update(error_correlation=1.5), "error_correlation"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    parts: dict[str, bytes], tmp_path: Path, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    """What a reader half understands it must not use."""
    with pytest.raises(BundleError, match=says):
        load_bundle(write(tmp_path / "odd.livemos", edited(parts, change)))


def test_what_is_no_zip_or_is_not_there_is_refused_with_its_name(tmp_path: Path) -> None:
    """Settings point at files that people mistype."""
    text = tmp_path / "text.livemos"
    text.write_text("not a bundle")
    with pytest.raises(BundleError, match=r"text\.livemos"):
        load_bundle(text)
    with pytest.raises(BundleError, match="not found"):
        load_bundle(tmp_path / "none.livemos")


def test_a_graph_that_the_runtime_cannot_load_is_an_engine_error(parts: dict[str, bytes], tmp_path: Path) -> None:
    """Hashes can be right and the graph still be of another world; the operator needs one line, not a traceback."""
    import hashlib

    graph = b"no graph"
    digest = hashlib.sha256(graph).hexdigest()

    def change(manifest: dict[str, Any]) -> None:
        manifest["files"][GRAPH] = digest
        manifest["model_id"] = f"{manifest['name']}-{manifest['version']}-{digest[:12]}"

    bundle = load_bundle(write(tmp_path / "graph.livemos", edited({**parts, GRAPH: graph}, change)))
    with pytest.raises(EngineError, match="cannot load"):
        OnnxEngine(bundle)

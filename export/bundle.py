"""A trained checkpoint as a bundle: graph, manifest, card and parity, written only when engine and network agree."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from livemos.agent.bundle import (
    GRAPH,
    Bundle,
    FeatureSpec,
    GateSpec,
    Manifest,
    OutputSpec,
    model_id,
    sha256,
    write_bundle,
)
from livemos.agent.errors import BundleError
from livemos.agent.records import SAMPLE_RATE_HZ, SEGMENT_SAMPLES, STRIDE_SAMPLES
from livemos.export.model_card import model_card
from livemos.export.parity import PARITY, features_of, fixed_audio, parity_document, require_parity
from livemos.export.precisions import make_graphs, run_network
from livemos.export.to_onnx import OPSET, multiply_adds, to_onnx
from livemos.training.models.base import OUTPUTS

CARD = "MODEL_CARD.md"
_RANGES = {"speech_ratio": ("ratio", 0.0, 1.0), "mos_std": ("MOS", 0.0, 4.0)}
_SCORE = ("MOS", 1.0, 5.0)
_SHARES, _CAUSE = ("_ratio", "_probability"), "cause"  # names of outputs from 0 to 1
# of the facts of a run, what a manifest repeats; the sources stand in the card
_TRAINING_FACTS = (
    "recipe",
    "seed",
    "steps",
    "train_clips",
    "clips",
    "pearson",
    "rmse",
    "clean_bias",
    "families_in_order_ratio",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """name and version of the model; unset: livemos-RECIPE and the recipe's version.

    calibration: a folder of recordings, without which no int8 graph is made. report: called with one line a step.
    """

    name: str | None = None
    version: str | None = None
    calibration: Path | None = None
    report: Callable[[str], None] = lambda _: None


def output_names(model: nn.Module) -> tuple[str, ...]:
    """What the columns of a network mean: its own `outputs`, or those all networks began with."""
    return tuple(getattr(model, "outputs", OUTPUTS))


def build_bundle(model: nn.Module, facts: dict[str, Any], options: ExportOptions) -> Bundle:
    """The bundle in memory, each of its graphs in agreement with the network. Raises BundleError."""
    try:
        name, version = options.name or f"livemos-{facts['recipe']}", options.version or str(facts["version"])
        features = FeatureSpec(**facts["front_end"])
        front_end = features.build()
        frames, bands = front_end.frames(SEGMENT_SAMPLES), front_end.mel_bands
        options.report("float32 graph")
        graph = to_onnx(model, frames, bands)
        audio = fixed_audio()
        outputs = run_network(model, features_of(audio, front_end))
        counts = {
            "parameters": sum(each.numel() for each in model.parameters()),
            "multiply_adds": multiply_adds(model, frames, bands),
        }
        shape = {"frames": frames, "bands": bands}
        gate = float(facts["minimum_speech_ratio"])
        card = model_card(name, version, facts | {"network": describe_network(model)}, counts | shape, gate)
        training = {key: facts[key] for key in _TRAINING_FACTS}
    except KeyError as missing:
        raise BundleError(
            f"the checkpoint does not say its {missing}; train it to the end with `livemos train fit`"
        ) from missing
    graphs = make_graphs(model, graph, front_end, output_names(model), options.calibration, options.report)
    files = {spec.file: content for spec, content in graphs}
    files |= {CARD: card, PARITY: parity_document(list(audio), outputs)}
    digests = {file: sha256(content) for file, content in files.items()}
    manifest = Manifest(
        name=name,
        version=version,
        model_id=model_id(name, version, digests[GRAPH]),
        licence="Apache-2.0",
        sample_rate_hz=SAMPLE_RATE_HZ,
        segment_samples=SEGMENT_SAMPLES,
        stride_samples=STRIDE_SAMPLES,
        features=features,
        outputs=tuple(_output(output) for output in output_names(model)),
        gate=GateSpec(minimum_speech_ratio=gate),
        error_correlation=float(facts.get("error_correlation", 1.0)),
        opset=OPSET,
        training=training,
        files=digests,
        graphs=tuple(spec for spec, _ in graphs),
        parameters=counts["parameters"],
        multiply_adds=counts["multiply_adds"],
    )
    bundle = Bundle(manifest=manifest, files=files, origin=f"{name} {version}")
    options.report("parity of every graph")
    return _with_parity(bundle)


def _with_parity(bundle: Bundle) -> Bundle:
    """The bundle with what was measured in its manifest. Raises BundleError where a graph is too far off."""
    found = {each.precision: each for each in require_parity(bundle)}
    graphs = tuple(
        spec.model_copy(
            update={
                "rms_mos": round(found[spec.precision].rms_mos, 6),
                "max_mos": round(found[spec.precision].max_mos, 6),
            }
        )
        for spec in bundle.manifest.graphs
    )
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"graphs": graphs}))


def _output(name: str) -> OutputSpec:
    share = _RANGES["speech_ratio"] if name.endswith(_SHARES) or name.startswith(_CAUSE) else _SCORE
    unit, minimum, maximum = _RANGES.get(name, share)
    return OutputSpec(name=name, unit=unit, minimum=minimum, maximum=maximum)


def describe_network(model: nn.Module) -> str:
    """One sentence for the card: the first paragraph of the network's module."""
    module = inspect.getmodule(type(model))
    text = inspect.getdoc(module) if module else None
    return " ".join((text or type(model).__name__).split("\n\n")[0].split())


def export_bundle(model: nn.Module, facts: dict[str, Any], out: Path, options: ExportOptions) -> Bundle:
    """Build the bundle and write it to `out`. Raises BundleError, and then writes nothing."""
    bundle = build_bundle(model, facts, options)
    out.parent.mkdir(parents=True, exist_ok=True)
    return write_bundle(out, bundle.manifest, bundle.files)

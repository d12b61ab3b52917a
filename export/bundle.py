"""A trained checkpoint as a bundle: graph, manifest, card and parity, written only when engine and network agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

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
from livemos.export.to_onnx import OPSET, multiply_adds, to_onnx
from livemos.training.models.conformer import OUTPUTS, SpeechQualityConformer

CARD = "MODEL_CARD.md"
_RANGES = {"speech_ratio": ("ratio", 0.0, 1.0), "mos_std": ("MOS", 0.0, 4.0)}
_SCORE = ("MOS", 1.0, 5.0)
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


def build_bundle(model: SpeechQualityConformer, facts: dict[str, Any], name: str, version: str) -> Bundle:
    """The bundle in memory, engine and network in agreement. Raises BundleError."""
    try:
        features = FeatureSpec(**facts["front_end"])
        front_end = features.build()
        frames, bands = front_end.frames(SEGMENT_SAMPLES), front_end.mel_bands
        graph = to_onnx(model, frames, bands)
        audio = fixed_audio()
        with torch.no_grad():
            outputs = model(torch.from_numpy(features_of(audio, front_end))).numpy()
        counts = {
            "parameters": sum(each.numel() for each in model.parameters()),
            "multiply_adds": multiply_adds(model, frames, bands),
        }
        sizes = {"blocks": len(model.blocks), "width": model.stem.project.out_features}
        gate = float(facts["minimum_speech_ratio"])
        card = model_card(name, version, facts, counts | sizes, gate)
        training = {key: facts[key] for key in _TRAINING_FACTS}
    except KeyError as missing:
        raise BundleError(
            f"the checkpoint does not say its {missing}; train it to the end with `livemos train fit`"
        ) from missing
    files = {GRAPH: graph, CARD: card, PARITY: parity_document(list(audio), outputs)}
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
        outputs=tuple(_output(output) for output in OUTPUTS),
        gate=GateSpec(minimum_speech_ratio=gate),
        opset=OPSET,
        training=training,
        files=digests,
        parameters=counts["parameters"],
        multiply_adds=counts["multiply_adds"],
    )
    bundle = Bundle(manifest=manifest, files=files, origin=f"{name} {version}")
    require_parity(bundle)
    return bundle


def _output(name: str) -> OutputSpec:
    unit, minimum, maximum = _RANGES.get(name, _SCORE)
    return OutputSpec(name=name, unit=unit, minimum=minimum, maximum=maximum)


def export_bundle(model: SpeechQualityConformer, facts: dict[str, Any], out: Path, name: str, version: str) -> Bundle:
    """Build the bundle and write it to `out`. Raises BundleError, and then writes nothing."""
    bundle = build_bundle(model, facts, name, version)
    out.parent.mkdir(parents=True, exist_ok=True)
    return write_bundle(out, bundle.manifest, bundle.files)

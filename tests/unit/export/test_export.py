"""A bundle says what the network says, or is not written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from livemos.agent.bundle import load_bundle
from livemos.agent.engine.onnx_engine import OnnxEngine
from livemos.agent.errors import BundleError
from livemos.agent.features import LogMel
from livemos.export import bundle as exporter
from livemos.export.bundle import ExportOptions, build_bundle, export_bundle
from livemos.export.command import app
from livemos.export.model_card import model_card
from livemos.export.parity import LIMIT_MOS, features_of, fixed_audio, worst_difference
from livemos.export.to_onnx import to_onnx
from livemos.training.checkpoint import save_model
from livemos.training.models.base import OUTPUTS
from livemos.training.models.conformer import ConformerSize, SpeechQualityConformer

CLEAN = Path(__file__).parent.parent.parent / "data" / "clean"
SMALL = ConformerSize(stem_channels=4, width=24, blocks=1, heads=2, feed_forward=32, head_width=16)


def facts() -> dict[str, Any]:
    return {
        "front_end": LogMel().parameters(), "sources": ["made/up (clean, 2 files): CC0 1.0"],
        "minimum_speech_ratio": 0.3, "error_correlation": 0.35,
        "recipe": "tiny", "version": "0.7", "seed": 1, "steps": 3, "train_clips": 40, "clips": 16,
        "pearson": 0.5, "rmse": 0.9, "clean_bias": -0.1, "families_in_order_ratio": 0.8,
    }  # fmt: skip


@pytest.fixture(scope="module")
def model() -> SpeechQualityConformer:
    """Weights at random, batch norms with a past, so that folding has something to fold."""
    torch.manual_seed(4)
    model = SpeechQualityConformer(SMALL, torch.full((64,), -4.0), torch.full((64,), 3.0))
    with torch.no_grad():
        model.layer_scores += torch.tensor([0.5, -0.5])
        for _ in range(3):
            model(3.0 * torch.randn(8, 98, 64) - 4.0)
    return model.eval()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of the tests' recordings: one sets the scales of int8, one judges them."""
    folder = tmp_path_factory.mktemp("recordings")
    for file in sorted(CLEAN.glob("en-*.flac"))[:2]:
        (folder / file.name).symlink_to(file)
    return folder


def options(calibration: Path | None = None) -> ExportOptions:
    return ExportOptions(name="small", version="0.0", calibration=calibration)


@pytest.fixture(scope="module")
def exported(model: SpeechQualityConformer, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "small.livemos"
    export_bundle(model, facts(), out, options(recordings))
    return out


def test_the_engine_says_what_the_network_says_on_fixed_audio(model: SpeechQualityConformer, exported: Path) -> None:
    """The graph that serves and the network that was judged have to be one."""
    bundle = load_bundle(exported)
    features = features_of(fixed_audio(), LogMel())
    with torch.no_grad():
        expected = model(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(OnnxEngine(bundle).score(features), expected, atol=1e-4)
    assert worst_difference(bundle) < LIMIT_MOS


def test_fixed_audio_is_heard_as_different(model: SpeechQualityConformer) -> None:
    """Parity on signals that all score alike would prove nothing."""
    audio = fixed_audio()
    assert {"silence", "voice", "voice with lost packets"} <= set(audio)
    assert any(name.startswith("demo_speech") for name in audio)
    with torch.no_grad():
        outputs = model(torch.from_numpy(features_of(audio, LogMel()))).numpy()
    assert np.ptp(outputs[:, 0]) > 0.01


@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_a_row_does_not_depend_on_its_batch(exported: Path, batch: int) -> None:
    """Segments of strangers are scored together."""
    engine = OnnxEngine(load_bundle(exported))
    features = np.random.default_rng(1).standard_normal((64, 98, 64)).astype(np.float32)
    alone = np.concatenate([engine.score(features[k : k + 1]) for k in range(batch)])
    np.testing.assert_allclose(engine.score(features[:batch]), alone, atol=1e-4)


def test_the_manifest_names_columns_units_and_the_gate(exported: Path) -> None:
    """The agent reads columns by these names and gates with this number."""
    manifest = load_bundle(exported).manifest
    assert tuple(output.name for output in manifest.outputs) == OUTPUTS
    assert manifest.gate.minimum_speech_ratio == 0.3
    assert manifest.error_correlation == 0.35
    assert manifest.features.build() == LogMel()
    assert manifest.multiply_adds
    assert manifest.parameters
    assert manifest.training["recipe"] == "tiny"


def test_the_card_names_sources_licence_and_limits(exported: Path) -> None:
    """CC BY asks for names; users ask for limits."""
    card = load_bundle(exported).files["MODEL_CARD.md"].decode()
    assert "made/up (clean, 2 files): CC0 1.0" in card
    assert "Apache-2.0 (weights)" in card
    assert "## Limits" in card


@pytest.mark.parametrize(("told", "share"), [({}, None), ({"bak_share": 0.0}, None), ({"bak_share": 0.6}, "0.6")])
def test_the_card_names_another_models_share_only_where_it_had_one(told: dict[str, float], share: str | None) -> None:
    """Who reads the card of a recipe without that share would look for an influence that is not there."""
    counts = {"parameters": 1, "multiply_adds": 1, "frames": 98, "bands": 64}
    card = model_card("small", "0.0", facts() | {"network": "small."} | told, counts, 0.3).decode()
    assert ("DNSMOS P.835" in card) == (share is not None)
    if share is None:
        assert "the simulator's own truth.\ndocs/model.md has the formulas." in card
    else:
        assert f"has a share of {share} in the noisiness.\n" in card


def test_two_exports_are_the_same_bytes(
    model: SpeechQualityConformer, recordings: Path, exported: Path, tmp_path: Path
) -> None:
    """A bundle that can be made again can be checked by anybody."""
    again = tmp_path / "again.livemos"
    export_bundle(model, facts(), again, options(recordings))
    assert again.read_bytes() == exported.read_bytes()


def test_the_graph_keeps_nothing_of_the_exporting_machine(model: SpeechQualityConformer) -> None:
    """The exporter writes stack traces with file names into every node."""
    graph = onnx.load_from_string(to_onnx(model, 98, 64))
    assert not any(node.metadata_props or node.doc_string for node in graph.graph.node)
    assert [(each.domain, each.version) for each in graph.opset_import if each.domain == ""] == [("", 18)]
    assert b".py" not in graph.SerializeToString()


def test_a_graph_that_differs_writes_no_bundle(
    model: SpeechQualityConformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong score is worse than none: the exporter has to refuse, and to leave nothing behind."""

    def wrong_graph(model: SpeechQualityConformer, frames: int, bands: int) -> bytes:
        torch.manual_seed(5)
        other = SpeechQualityConformer(SMALL, torch.zeros(64), torch.ones(64))
        return to_onnx(other, frames, bands)

    monkeypatch.setattr(exporter, "to_onnx", wrong_graph)
    with pytest.raises(BundleError, match="differs from the trained network"):
        export_bundle(model, facts(), tmp_path / "wrong.livemos", options())
    assert not (tmp_path / "wrong.livemos").exists()


def test_a_checkpoint_without_its_figures_is_refused(model: SpeechQualityConformer) -> None:
    """A card with holes is no card."""
    incomplete = {key: value for key, value in facts().items() if key != "pearson"}
    with pytest.raises(BundleError, match="pearson"):
        build_bundle(model, incomplete, options())


def test_the_command_exports_and_checks(model: SpeechQualityConformer, tmp_path: Path) -> None:
    """What docs/model.md tells people to type."""
    save_model(tmp_path / "model.pt", model, SMALL, facts())
    out = tmp_path / "made.livemos"
    made = CliRunner().invoke(app, ["--checkpoint", str(tmp_path / "model.pt"), "--out", str(out)])
    assert made.exit_code == 0, made.output
    assert load_bundle(out).manifest.model_id.startswith("livemos-tiny-0.7-")  # unless --name and --version say else
    checked = CliRunner().invoke(app, ["--check", str(out)])
    assert checked.exit_code == 0
    assert "is sound" in checked.output
    assert "fp16" in checked.output
    assert "## Limits" in checked.output  # the card
    assert "int8" not in checked.output  # without --calibration there is none, and the command says so
    assert "no int8 graph" in made.output
    assert CliRunner().invoke(app, []).exit_code == 2

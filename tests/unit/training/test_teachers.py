"""Public networks read from their model files; here with weights drawn at random, because the files are not shipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from livemos.agent.errors import ConfigError
from livemos.training import kept_labels, labelers
from livemos.training.labelers import LABELERS
from livemos.training.tables import TableJob, build, read_table
from livemos.training.teachers.conferencing_speech import ConferencingSpeech, load_conferencing_speech
from livemos.training.teachers.decibel_mel import blocks, decibel_mel, mel_filters
from livemos.training.teachers.dnsmos_pro import DnsmosPro, load_dnsmos_pro, log_magnitudes


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The files of both teachers, as the public ones are laid out."""
    torch.manual_seed(1)
    for baseline in (1, 2):
        state = ConferencingSpeech(baseline).state_dict()
        torch.save({"args": {}, "model_state_dict": state}, tmp_path / f"cs22_baseline{baseline}.pt")
    torch.save(DnsmosPro().state_dict(), tmp_path / "dnsmospro_nisqa.pt")
    return tmp_path


def test_a_tone_lies_in_its_mel_band() -> None:
    """A front end that is a band off gives a teacher that is a point off."""
    tone = 0.5 * np.sin(2 * np.pi * 1000.0 * np.arange(16_000) / 16_000).astype(np.float32)
    mel = decibel_mel(tone[None], 16_000)
    assert mel.shape == (1, 48, 101)
    loudest = int(mel[0, :, 50].argmax())
    weights = mel_filters(16_000)[loudest]
    assert weights[round(1000.0 / 16_000 * 4096)] > 0.0
    assert mel.max() - mel.min() == pytest.approx(80.0)


def test_the_front_end_is_a_centred_transform_of_each_frame() -> None:
    """Against a transform written out frame by frame."""
    samples = np.random.default_rng(0).normal(0, 0.1, 4_000).astype(np.float32)
    mel = decibel_mel(samples[None], 16_000)[0]
    padded = np.pad(samples, 2048, mode="reflect")
    window = np.zeros(4096)
    window[2048 - 160 : 2048 + 160] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(320) / 320)
    spectra = [np.abs(np.fft.rfft(padded[k * 160 : k * 160 + 4096] * window)) for k in range(26)]
    expected = 20 * np.log10(np.maximum(mel_filters(16_000) @ np.array(spectra).T, 1e-4))
    np.testing.assert_allclose(mel, np.maximum(expected, expected.max() - 80.0), atol=0.01)
    assert blocks(mel[None], 15, 4).shape == (1, 3, 48, 15)
    np.testing.assert_array_equal(blocks(mel[None], 15, 4)[0, 1], mel[:, 4:19])


def test_the_second_front_end_pads_with_silence() -> None:
    """DNSMOS Pro was trained on frames that begin before the signal."""
    ones = np.ones((1, 1_600), np.float32)
    values = log_magnitudes(ones)
    assert values.shape == (1, 1, 11, 161)
    assert values[0, 0, 5, 0] == pytest.approx(np.log10(160.0), abs=1e-3)
    assert values[0, 0, 0, 0] < values[0, 0, 5, 0] - 0.2


def test_a_piece_is_scored_the_same_alone_and_among_others(models: Path) -> None:
    """The label of a second must not depend on its clip."""
    pieces = np.random.default_rng(2).normal(0, 0.05, (3, 16_000)).astype(np.float32)
    pro = load_dnsmos_pro(models / "dnsmospro_nisqa.pt")
    np.testing.assert_allclose(pro.score(pieces)[1], pro.score(pieces[1:2])[0], atol=1e-4)
    for baseline in (1, 2):
        network = load_conferencing_speech(models / f"cs22_baseline{baseline}.pt", baseline)
        np.testing.assert_allclose(network.score(pieces, 16_000)[1], network.score(pieces[1:2], 16_000)[0], atol=1e-4)


def test_teachers_by_the_second_are_kept_and_restored(
    data_folder: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven numbers a clip, for the families that were asked about, on this machine and the next."""
    for name in ("cs22", "pro"):
        monkeypatch.setitem(LABELERS, name, replace(LABELERS[name], every=2))
    job = TableJob(
        data=data_folder,
        folder=tmp_path / "one",
        split="train",
        seed=4,
        families=2,
        damage_set="second",
        labelers=("cs22", "pro"),
        models=models,
    )
    list(build(job, 1))
    columns = read_table(job.folder).columns
    for name in ("cs22_b1", "cs22_b2", "dnsmos_pro"):
        assert columns[name].shape == (8, 7)
        assert np.isfinite(columns[name][:4]).all()
        assert np.isnan(columns[name][4:]).all()
    kept_labels.keep(job, tmp_path / "kept")
    other = replace(job, folder=tmp_path / "two")
    kept_labels.restore(tmp_path / "kept", other)
    for name in ("cs22", "pro"):
        monkeypatch.setitem(LABELERS, name, replace(LABELERS[name], score=_refused))
    list(build(other, 1))
    after = read_table(other.folder).columns
    for name in ("cs22_b1", "cs22_b2", "dnsmos_pro"):
        np.testing.assert_allclose(after[name], columns[name], atol=0.005)


def _refused(*_: object) -> labelers.Scores:
    raise AssertionError("labelled twice")


def test_a_missing_file_of_a_teacher_is_named(tmp_path: Path) -> None:
    """Before hours of simulation, not after."""
    with pytest.raises(ConfigError, match=r"cs22 needs cs22_baseline1\.pt and cs22_baseline2\.pt"):
        labelers.check(["cs22"], tmp_path)

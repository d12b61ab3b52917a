"""Speech that codecs make again: in time, at its level, worse by degrees, and heard by those who can judge."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from livemos.agent.features import LogMel
from livemos.training import labelers, tables
from livemos.training.blend import PESQ_TRUST
from livemos.training.damages import BLIND_KINDS, DAMAGE_SETS, DamageSet, Track
from livemos.training.damages.vocoded import PulseVocoder, SpectralHoles, Vocoder
from livemos.training.labelers import LABELERS, Scores, hears, pesq_wb
from livemos.training.levels import active_level_dbov, frame_power
from livemos.training.simulator import FAMILY_CLIPS, SimulatedClip, Simulator
from livemos.training.sources import Library

BANDS = LogMel().mel_bands
KINDS = ("vocoder", "pulse_vocoder", "holes")
ADDED = (*KINDS, "codec2")
SECOND_SET = "b21e"  # first digits of the SHA-256 of everything the set is drawn by


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    """Three seconds of a real voice."""
    file = Path(__file__).parents[2] / "data" / "clean" / "en-ls2007.flac"
    samples, rate_hz = soundfile.read(file, frames=48_000, dtype="float32")
    assert rate_hz == 16_000
    return np.asarray(samples)


def made(kind: str, severity: float, samples: np.ndarray, library: Library, seed: int = 1) -> np.ndarray:
    """`samples` after a damage drawn from `seed`."""
    damage = DAMAGE_SETS["third"].kinds[kind].draw(np.random.default_rng(seed), severity, library)
    return damage.apply(Track.of(samples, BANDS), library).samples


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("severity", [0.0, 0.6, 1.0])
def test_speech_made_again_repeats_and_keeps_length_level_and_time(
    kind: str, severity: float, recording: np.ndarray, library: Library
) -> None:
    """Audio is not kept, and a window's truth must fit what is heard in it."""
    heard = made(kind, severity, recording, library)
    assert np.array_equal(heard, made(kind, severity, recording, library))
    assert heard.shape == recording.shape and heard.dtype == np.float32
    assert active_level_dbov(heard) == pytest.approx(active_level_dbov(recording), abs=0.3)
    loudness = [np.log(frame_power(each) + 1e-6) for each in (heard, recording)]
    shifted = [np.corrcoef(np.roll(loudness[0], -late), loudness[1])[0, 1] for late in range(-5, 6)]
    assert int(np.argmax(shifted)) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_severity_takes_quality_away_by_degrees(kind: str, recording: np.ndarray, library: Library) -> None:
    """A ladder teaches an order; its least step is hardly heard, its last is a bad codec."""
    means = [
        np.mean([pesq_wb(recording, made(kind, severity, recording, library, seed)) for seed in (1, 2)])
        for severity in (0.0, 0.5, 1.0)
    ]
    assert means[0] > 3.8 and means[-1] < 2.0
    assert (np.diff(means) < 0).all()


def test_nothing_taken_is_nothing_lost(recording: np.ndarray, library: Library) -> None:
    """What is heard at a severity must come from the loss, not from analysis and synthesis."""
    whole = (
        Vocoder(
            mel_bands=40, frame_step=1, quantum_db=0.0, dithered=False, smoothing_frames=0.0, detail=1.0,
            phase_radians=0.0, iterations=2, kept_below_hz=0.0, seed=1,
        ),
        PulseVocoder(
            order=16, frame_step=2, residual=1.0, pitch_error=0.0, pulses_below_hz=8000.0, high_hz=8000.0, seed=1
        ),
        SpectralHoles(frame_ms=20, bands=20, threshold=0.0, momentary=0.5, fill=0.0, seed=1),
    )  # fmt: skip
    for damage in whole:
        heard = damage.apply(Track.of(recording, BANDS), library).samples
        np.testing.assert_allclose(heard, recording, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_silence_made_again_is_silence(kind: str, library: Library) -> None:
    """A muted line has no level to bring back; what is infinitely far down must not become noise or NaN."""
    assert np.abs(made(kind, 1.0, np.zeros(32_000, np.float32), library)).max() < 1e-4


def test_pulses_follow_the_voice(library: Library) -> None:
    """The synthetic voice has the pitch of the true one."""
    time = np.arange(32_000) / 16_000
    tone = np.asarray(sum(np.sin(2 * np.pi * 125.0 * k * time) for k in range(1, 20)) * 0.02, np.float32)
    vocoder = PulseVocoder(
        order=16, frame_step=1, residual=0.0, pitch_error=0.0, pulses_below_hz=8000.0, high_hz=8000.0, seed=1
    )
    spectrum = np.abs(np.fft.rfft(vocoder.apply(Track.of(tone, BANDS), library).samples[8_000:24_000]))
    harmonics = np.arange(125, 2_000, 125)
    assert spectrum[harmonics].mean() > 10 * spectrum[harmonics + 62].mean()


def test_the_second_set_keeps_its_kinds_in_order_and_weight() -> None:
    """Kept labels belong to clips that are drawn again from these numbers."""
    chosen = DAMAGE_SETS["second"]
    kinds = [(name, kind.weight, kind.stage, kind.cause, kind.held_out) for name, kind in chosen.kinds.items()]
    text = json.dumps([kinds, sorted(chosen.flat), chosen.no_speech_every, sorted(chosen.held_out_sources)])
    assert hashlib.sha256(text.encode()).hexdigest()[:4] == SECOND_SET
    assert not any(kind.blind for kind in chosen.kinds.values())


def test_a_fifth_of_the_third_set_is_made_again() -> None:
    """Enough to learn it from, and the rest in the proportions of before."""
    second, third = DAMAGE_SETS["second"], DAMAGE_SETS["third"]
    assert [*third.kinds][: len(second.kinds)] == [*second.kinds]
    assert {name: third.kinds[name] for name in second.kinds} == second.kinds
    weights = {name: kind.weight for name, kind in third.drawn(held_out=False).items() if name not in third.flat}
    assert sum(weights[name] for name in ADDED) / sum(weights.values()) == pytest.approx(0.2, abs=0.01)


def test_pesq_is_hardly_trusted_about_what_it_cannot_judge() -> None:
    """It compares waveforms, and these have another one."""
    assert {"vocoder", "pulse_vocoder", "codec2", "suppressor"} == BLIND_KINDS
    assert all(PESQ_TRUST[kind] <= 0.3 for kind in BLIND_KINDS)


def _third(library: Library) -> Simulator:
    return Simulator(library=library, seed=11, features=LogMel(), damage_set=_only_added("third"))


def _only_added(name: str) -> DamageSet:
    """The set with little but the cheapest of the added kinds, and one that every labeler need not hear."""
    chosen = DAMAGE_SETS[name]
    kinds = {
        kind: chosen.kinds[kind]
        for kind in ("mnru", "hum", "clipping", "equaliser", "pulse_vocoder")
        if kind in chosen.kinds
    }
    return replace(chosen, kinds=kinds)


def test_the_kinds_of_a_family_are_known_without_its_audio(library: Library) -> None:
    """A labeler that hears few families is told which, at a hundredth of the price."""
    simulator = _third(library)
    for number in (0, 1, 7):
        clips = simulator.family(number)
        spoken = {kind for clip in clips if clip.reference is not None for kind, _ in clip.damages}
        assert simulator.kinds(number) == spoken


@pytest.mark.parametrize("name", ["third", "second"])
def test_a_family_that_pesq_is_wrong_about_is_heard_by_everyone(
    name: str, library: Library, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second family would leave half of the resynthesised ones to a judge that cannot judge them."""
    asked: list[int] = []

    def score(clips: list[SimulatedClip], models: Path | None) -> Scores:
        heard = labelers._asked("pro", clips)
        asked.extend(clip.family for _, clip in heard)
        scores = LABELERS["pro"].unasked(len(clips))
        scores[[k for k, _ in heard]] = 3.0
        return {"dnsmos_pro": scores}

    monkeypatch.setitem(LABELERS, "pro", replace(LABELERS["pro"], score=score))
    simulator = replace(_third(library), damage_set=_only_added(name))
    job = tables.TableJob(
        data=data_folder, folder=data_folder, split="train", seed=11, families=6, damage_set=name, labelers=("pro",)
    )
    task = tables.ShardTask(shard=0, missing=("pro",), expected_dbov=None)
    parts = dict(tables.make_parts(job, simulator, task))
    kinds = {family: simulator.kinds(family) for family in range(6)}
    wanted = {family for family in kinds if family % 2 == 0 or kinds[family] & BLIND_KINDS}
    assert set(asked) == wanted
    assert bool(wanted - set(range(0, 6, 2))) == (name == "third")
    answered = np.isfinite(parts["pro"]["dnsmos_pro"][:, 0]).reshape(-1, FAMILY_CLIPS)
    assert set(np.flatnonzero(answered.all(axis=1))) == wanted
    assert set(np.flatnonzero(answered.any(axis=1))) == wanted
    assert not hears("pro", 1, {"hum"}) and hears("pro", 1, {"hum", "codec2"})

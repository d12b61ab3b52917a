"""Clean held-out clips, and the damage whose order a listener would not argue about."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from livemos.agent.codecs import make_decoder, make_encoder
from livemos.agent.records import Samples
from livemos.agent.sources.audio_file import read_audio

DATA = Path(__file__).parent.parent / "data"
CLIPS = sorted((DATA / "clean").glob("*.flac"))
_PACKET = 320  # 20 ms at 16 kHz


def load(path: Path, gain_db: float = 10.0) -> Samples:
    """A clip at -26 dBov active level: the collection stores -36."""
    samples, sample_rate_hz = read_audio(path)
    assert sample_rate_hz == 16_000
    return (samples[:, 0] * np.float32(10 ** (gain_db / 20))).astype(np.float32)


def with_noise(speech: Samples, snr_db: float, seed: int = 1) -> Samples:
    """White noise; the SNR counts active frames, those within 25 dB of the loudest."""
    frames = speech[: len(speech) // _PACKET * _PACKET].reshape(-1, _PACKET)
    power = (frames.astype(np.float64) ** 2).mean(axis=1)
    active = power[power > power.max() / 10**2.5].mean()
    noise = np.random.default_rng(seed).standard_normal(len(speech)) * np.sqrt(active / 10 ** (snr_db / 10))
    return (speech + noise).astype(np.float32)


def with_loss(speech: Samples, ratio: float, seed: int = 2) -> Samples:
    """Lost 20 ms packets of L16, concealed by the decoder as in a call."""
    encoder, decoder = make_encoder("L16/16000/1"), make_decoder("L16/16000/1")
    lost = np.random.default_rng(seed).random(len(speech) // _PACKET + 1) < ratio
    heard = []
    for index, start in enumerate(range(0, len(speech) - _PACKET + 1, _PACKET)):
        if lost[index]:
            heard.append(decoder.conceal(_PACKET))
        else:
            heard.append(decoder.decode(encoder.encode(speech[start : start + _PACKET])))
    return np.concatenate(heard)


def clipped(speech: Samples) -> Samples:
    """Hard clipping of the loudest 5 % of the active samples, brought back to the level it had."""
    loud = np.abs(speech)
    limit = np.quantile(loud[loud > loud.max() / 30], 0.95)
    cut = np.clip(speech, -limit, limit)
    return (cut * (speech.std() / cut.std())).astype(np.float32)

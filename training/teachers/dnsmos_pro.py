"""DNSMOS Pro (MIT), from its tensors and published architecture."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy.fft
import scipy.signal
import torch
from torch import Tensor, nn

from livemos.training.teachers.decibel_mel import Array

_WINDOW_SAMPLES, _HOP_SAMPLES = 320, 160


def log_magnitudes(pieces: Array) -> Array:
    """(P, N) samples at 16 kHz -> (P, 1, T, 161), log10 of the magnitude of 20 ms frames every 10 ms."""
    half = _WINDOW_SAMPLES // 2
    padded = np.pad(pieces, ((0, 0), (half, half)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW_SAMPLES, axis=1)[:, ::_HOP_SAMPLES]
    window = scipy.signal.get_window("hann", _WINDOW_SAMPLES).astype(np.float32)
    magnitudes = np.abs(scipy.fft.rfft(frames * window, axis=-1))
    return np.asarray(np.log10(np.clip(magnitudes, 1e-7, 1e7))[:, None], np.float32)


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        channels = (1, 32, 32, 64, 64)
        stages = [
            nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU())
            for before, after in pairwise(channels)
        ]
        stages[1].append(nn.MaxPool2d(3))
        self.encoder = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        return torch.amax(self.encoder(x), dim=(2, 3))


class _Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        hidden = [nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(2)]
        self.head = nn.Sequential(*hidden, nn.Sequential(nn.Linear(64, 2)))

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(x)
        return answer


class DnsmosPro(nn.Module):
    """(P, 1, T, 161) -> mean MOS (P,)."""

    def __init__(self) -> None:
        super().__init__()
        self._encoder, self._head = _Encoder(), _Head()

    def forward(self, x: Tensor) -> Tensor:
        mean: Tensor = 3.0 + 2.0 * self._head(self._encoder(x))[:, 0]
        return mean

    def score(self, pieces: Array) -> Array:
        """(P, N) samples in [-1, 1] at 16 kHz -> (P,) MOS of each piece."""
        with torch.inference_mode():
            answers: Array = self(torch.from_numpy(log_magnitudes(pieces))).numpy()
        return answers


def load_dnsmos_pro(file: Path) -> DnsmosPro:
    """The network of a model file, ready to score."""
    network = DnsmosPro()
    network.load_state_dict(torch.load(file, weights_only=True))
    return network.eval()

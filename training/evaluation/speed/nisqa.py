"""NISQA v2 as a network to be timed, and for nothing else.

Its weights are for non-commercial use (CC BY-NC-SA 4.0): nothing that ships learns from them or from its answers. It
has the body of the ConferencingSpeech baseline 2 and five attention poolings, one an output.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from livemos.training.teachers.conferencing_speech import BLOCK_FRAMES, Attention, AttentionPool, BlockConvolutions
from livemos.training.teachers.decibel_mel import Array, blocks, decibel_mel

OUTPUTS = ("mos", "noisiness", "discontinuity", "coloration", "loudness")
_STRIDE_FRAMES = 4


class _Part(nn.Module):
    """The file names every part `PART.model`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.model(x)
        return answer


class NisqaV2(nn.Module):
    """Blocks (P, S, 48, 15) in dB -> (P, 5) as OUTPUTS."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = _Part(BlockConvolutions())
        self.time_dependency = _Part(Attention())
        self.pool_layers = nn.ModuleList(_Part(AttentionPool()) for _ in OUTPUTS)

    def forward(self, x: Tensor) -> Tensor:
        pieces, count = x.shape[:2]
        heard = self.time_dependency(self.cnn(x.flatten(0, 1)[:, None]).reshape(pieces, count, -1))
        return torch.stack([pool(heard) for pool in self.pool_layers], dim=1)

    def score(self, pieces: Array, sample_rate_hz: int) -> Array:
        """(P, N) samples in [-1, 1] -> (P, 5)."""
        cut = blocks(decibel_mel(pieces, sample_rate_hz), BLOCK_FRAMES, _STRIDE_FRAMES)
        with torch.inference_mode():
            answers: Array = self(torch.from_numpy(cut)).numpy()
        return answers


def load_nisqa(file: Path) -> NisqaV2:
    """The network of a model file, ready to be timed."""
    network = NisqaV2()
    saved: dict[str, Any] = torch.load(file, weights_only=True)
    network.load_state_dict(saved["model_state_dict"])
    return network.eval()

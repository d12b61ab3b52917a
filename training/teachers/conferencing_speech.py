"""The baselines of the ConferencingSpeech 2022 challenge (Apache-2.0), from their tensors and published architecture.

A model file is a dict: "model_state_dict". Names of modules follow the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from livemos.training.teachers.decibel_mel import Array, blocks, decibel_mel

BLOCK_FRAMES = 15
_MAP_SIZES = ((24, 7), (12, 5), (6, 3))
_WIDTH = 64


class BlockConvolutions(nn.Module):
    """Six convolutions with three adaptive poolings, (S, 1, 48, 15) -> (S, 384)."""

    def __init__(self) -> None:
        super().__init__()
        channels = (1, 16, 32, 64, 64, 64, 64)
        for k in range(6):
            padding = (1, 0) if k == 5 else (1, 1)
            self.add_module(f"conv{k + 1}", nn.Conv2d(channels[k], channels[k + 1], 3, padding=padding))
            self.add_module(f"bn{k + 1}", nn.BatchNorm2d(channels[k + 1]))

    def forward(self, x: Tensor) -> Tensor:
        pooled_after = {0: _MAP_SIZES[0], 1: _MAP_SIZES[1], 3: _MAP_SIZES[2]}
        for k in range(6):
            x = functional.relu(self.get_submodule(f"bn{k + 1}")(self.get_submodule(f"conv{k + 1}")(x)))
            if k in pooled_after:
                x = functional.adaptive_max_pool2d(x, pooled_after[k])
        return x.flatten(1)


class BlockDense(nn.Module):
    """Four dense layers, (S, 1, 48, 15) -> (S, 20)."""

    def __init__(self) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(1)
        widths = (48 * BLOCK_FRAMES, 20, 20, 20, 20)
        for k in range(4):
            self.add_module(f"lin{k + 1}", nn.Linear(widths[k], widths[k + 1]))
            self.add_module(f"bn{k + 2}", nn.BatchNorm1d(20))

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(x).flatten(1)
        for k in range(4):
            x = functional.relu(self.get_submodule(f"bn{k + 2}")(self.get_submodule(f"lin{k + 1}")(x)))
        return x


class Attention(nn.Module):
    """Two post-norm self-attention layers of one head, (P, S, 384) -> (P, S, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(384, _WIDTH)
        self.norm1 = nn.LayerNorm(_WIDTH)
        layer = nn.TransformerEncoderLayer(_WIDTH, 1, _WIDTH, dropout=0.0, batch_first=True)
        self.layers = nn.ModuleList([layer, nn.TransformerEncoderLayer(_WIDTH, 1, _WIDTH, 0.0, batch_first=True)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(self.linear(x))
        for layer in self.layers:
            x = layer(x)
        return x


class Recurrence(nn.Module):
    """One bidirectional LSTM, (P, S, 20) -> (P, S, 256)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(20, 128, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        states: Tensor = self.lstm(x)[0]
        return states


class AttentionPool(nn.Module):
    """(P, S, 64) -> (P,)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(_WIDTH, 2 * _WIDTH), nn.Linear(2 * _WIDTH, 1)
        self.linear3 = nn.Linear(_WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.linear2(functional.relu(self.linear1(x))), dim=1)
        pooled: Tensor = self.linear3((weights * x).sum(dim=1)).squeeze(-1)
        return pooled


class MeanPool(nn.Module):
    """(P, S, 256) -> (P,)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(256, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.linear(x.mean(dim=1)).squeeze(-1)
        return pooled


def _holder(model: nn.Module) -> nn.Module:
    """The files name every part `PART.model`."""
    holder = nn.Module()
    holder.add_module("model", model)
    return holder


class ConferencingSpeech(nn.Module):
    """Baseline 1 (dense, LSTM, mean) or 2 (convolutions, attention): blocks (P, S, 48, 15) -> MOS (P,)."""

    def __init__(self, baseline: int) -> None:
        super().__init__()
        dense = baseline == 1
        self.stride_frames = 3 if dense else 4
        self.cnn = _holder(BlockDense() if dense else BlockConvolutions())
        self.time_dependency = _holder(Recurrence() if dense else Attention())
        self.pool = _holder(MeanPool() if dense else AttentionPool())

    def forward(self, x: Tensor) -> Tensor:
        pieces, count = x.shape[:2]
        heard = self.cnn.get_submodule("model")(x.flatten(0, 1)[:, None]).reshape(pieces, count, -1)
        answer: Tensor = self.pool.get_submodule("model")(self.time_dependency.get_submodule("model")(heard))
        return answer

    def score(self, pieces: Array, sample_rate_hz: int) -> Array:
        """(P, N) samples in [-1, 1] -> (P,) MOS of each piece."""
        cut = blocks(decibel_mel(pieces, sample_rate_hz), BLOCK_FRAMES, self.stride_frames)
        with torch.inference_mode():
            answers: Array = self(torch.from_numpy(cut)).numpy()
        return answers


def load_conferencing_speech(file: Path, baseline: int) -> ConferencingSpeech:
    """The network of a model file, ready to score."""
    network = ConferencingSpeech(baseline)
    saved: dict[str, Any] = torch.load(file, weights_only=True)
    network.load_state_dict(saved["model_state_dict"])
    return network.eval()

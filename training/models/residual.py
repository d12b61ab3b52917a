"""Residual blocks of depthwise convolutions over time (as in ConvNeXt), with self-attention in the middle.

Everything between stem and pooling is a convolution over maps (B, D, 1, T): batch norm folds into its neighbour, and
ONNX Runtime keeps the maps in its blocked layout from block to block. The same arithmetic as dense layers over
(B, T, D) takes a third longer there (docs/model.md has the comparison).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from livemos.training.models.base import SpeechQualityNet
from livemos.training.models.stem import stem_convolutions, store_channels_last


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualSize:
    """What fixes the number of weights."""

    mel_bands: int = 64
    stem_channels: int = 16
    width: int = 128
    blocks: int = 4
    heads: int = 4  # of the one attention layer; 0 for none
    expansion: int = 2
    kernel_frames: int = 9
    head_width: int = 96
    dropout: float = 0.05


class Entrance(nn.Sequential):
    """The stem's convolutions, then one over all bands: (B, 1, T, F) -> (B, D, T / 4, 1)."""

    def __init__(self, size: ResidualSize) -> None:
        super().__init__(
            *stem_convolutions(size.stem_channels),
            nn.Conv2d(2 * size.stem_channels, size.width, (1, -(-size.mel_bands // 4))),
        )


class Block(nn.Module):
    """Depthwise convolution over time, batch norm, two pointwise layers, residual; (B, D, 1, T) -> (B, D, 1, T)."""

    def __init__(self, size: ResidualSize) -> None:
        super().__init__()
        width, inner = size.width, size.expansion * size.width
        kernel = (1, size.kernel_frames)
        self.depthwise = nn.Conv2d(width, width, kernel, padding=(0, kernel[1] // 2), groups=width, bias=False)
        self.batch_norm = nn.BatchNorm2d(width)
        self.up = nn.Conv2d(width, inner, 1)
        self.down = nn.Conv2d(inner, width, 1)
        self.dropout = nn.Dropout(size.dropout)
        assert self.down.bias is not None
        nn.init.zeros_(self.down.bias)
        nn.init.normal_(self.down.weight, std=0.02)  # each block starts close to the identity

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.dropout(self.down(functional.silu(self.up(self.batch_norm(self.depthwise(x))))))
        return x + change


class FrameAttention(nn.Module):
    """Multi-head self-attention without positions, residual; (B, D, 1, T) -> (B, D, 1, T)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.batch_norm = nn.BatchNorm2d(width)
        self.project = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, width, 1)
        nn.init.normal_(self.out.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        width, frames = x.shape[1], x.shape[3]
        split = self.project(self.batch_norm(x)).reshape(-1, 3, self.heads, width // self.heads, frames)
        query, key, value = (part.squeeze(1) for part in split.chunk(3, dim=1))  # each (B, heads, D / heads, T)
        scores = torch.matmul(query.transpose(2, 3), key) * (width // self.heads) ** -0.5
        attended = torch.matmul(value, torch.softmax(scores, dim=-1).transpose(2, 3))
        change: Tensor = self.out(attended.reshape(-1, width, 1, frames))
        return x + change


class SpeechQualityResidual(SpeechQualityNet):
    """Entrance, half of the blocks, one attention layer, the other half."""

    def __init__(self, size: ResidualSize, feature_mean: Tensor, feature_deviation: Tensor) -> None:
        stages: list[nn.Module] = [Block(size) for _ in range(size.blocks)]
        if size.heads:
            stages.insert(size.blocks // 2, FrameAttention(size.width, size.heads))
        super().__init__(
            feature_mean,
            feature_deviation,
            width=size.width,
            layers=len(stages) + 1,
            head_width=size.head_width,
            dropout=size.dropout,
        )
        self.stem = Entrance(size)
        self.blocks = nn.ModuleList(stages)
        store_channels_last(self)

    def layers(self, normalised: Tensor) -> list[Tensor]:
        """The maps of the entrance and of each stage."""
        layers = [self.stem(normalised[:, None]).transpose(2, 3)]
        for block in self.blocks:
            layers.append(block(layers[-1]))
        return layers

    def frames(self, mixed: Tensor) -> Tensor:
        """(B, D, 1, T) -> (B, T, D)."""
        return mixed.squeeze(2).transpose(1, 2)

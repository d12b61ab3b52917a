"""Residual blocks of depthwise convolutions over time (as in ConvNeXt), with self-attention in the middle.

For the same multiply-adds a block costs less than half of a Conformer block, in training and at batch 1, and inside one
second it hears as much (docs/model.md has the comparison).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from livemos.training.models.base import SpeechQualityNet
from livemos.training.models.stem import Stem


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionalSize:
    """What fixes the number of weights."""

    mel_bands: int = 64
    stem_channels: int = 24
    width: int = 128
    blocks: int = 4
    heads: int = 4  # of the one attention layer; 0 for none
    expansion: int = 2
    kernel_frames: int = 9
    head_width: int = 96
    dropout: float = 0.05


class Block(nn.Module):
    """Depthwise convolution over time, batch norm, two pointwise layers, residual; (B, T, D) -> (B, T, D)."""

    def __init__(self, size: ConvolutionalSize) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(
            size.width, size.width, size.kernel_frames, padding=size.kernel_frames // 2, groups=size.width, bias=False
        )
        self.batch_norm = nn.BatchNorm1d(size.width)
        self.up = nn.Linear(size.width, size.expansion * size.width)
        self.down = nn.Linear(size.expansion * size.width, size.width)
        self.dropout = nn.Dropout(size.dropout)
        nn.init.zeros_(self.down.bias)
        nn.init.normal_(self.down.weight, std=0.02)  # each block starts close to the identity

    def forward(self, x: Tensor) -> Tensor:
        over_time = self.batch_norm(self.depthwise(x.transpose(1, 2))).transpose(1, 2)
        change: Tensor = self.dropout(self.down(functional.silu(self.up(over_time))))
        return x + change


class FrameAttention(nn.Module):
    """Multi-head self-attention without positions, residual; (B, T, D) -> (B, T, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        nn.init.normal_(self.out.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        frames, width = x.shape[1], x.shape[2]
        split = self.project(self.norm(x)).reshape(-1, frames, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each (B, heads, T, D / heads)
        attended = functional.scaled_dot_product_attention(query, key, value)
        joined: Tensor = self.out(attended.transpose(1, 2).reshape(-1, frames, width))
        return x + joined


class SpeechQualityConvolutional(SpeechQualityNet):
    """Stem, half of the blocks, one attention layer, the other half."""

    def __init__(self, size: ConvolutionalSize, feature_mean: Tensor, feature_deviation: Tensor) -> None:
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
        self.stem = Stem(mel_bands=size.mel_bands, channels=size.stem_channels, width=size.width)
        self.blocks = nn.ModuleList(stages)

    def layers(self, normalised: Tensor) -> list[Tensor]:
        """The stem's frames and those of each stage."""
        layers = [self.stem(normalised)]
        for block in self.blocks:
            layers.append(block(layers[-1]))
        return layers

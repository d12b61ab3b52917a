"""A small Conformer (Gulati et al. 2020) over log-mel: strided convolutions, two blocks, attention over layers,
attentive statistics, bounded outputs.

Multiply-adds of one 1 s segment at the default sizes, T = 25 frames of d = 96: stem 0.5 M, projection 1.2 M, each block
1.8 M feed-forward + 1.0 M attention + 0.8 M convolution; about 9 M in all.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from livemos.training.models.base import SpeechQualityNet
from livemos.training.models.stem import Stem


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformerSize:
    """What fixes the number of weights."""

    mel_bands: int = 64
    stem_channels: int = 16
    width: int = 96
    blocks: int = 2
    heads: int = 4
    feed_forward: int = 192
    kernel_frames: int = 9
    head_width: int = 64
    dropout: float = 0.05


class FeedForward(nn.Sequential):
    """Half-step feed-forward module, (B, T, D) -> (B, T, D)."""

    def __init__(self, size: ConformerSize) -> None:
        super().__init__(
            nn.LayerNorm(size.width),
            nn.Linear(size.width, size.feed_forward),
            nn.SiLU(),
            nn.Dropout(size.dropout),
            nn.Linear(size.feed_forward, size.width),
        )


class SelfAttention(nn.Module):
    """Multi-head self-attention without positions: the convolutions know the order, a second needs no more."""

    def __init__(self, size: ConformerSize) -> None:
        super().__init__()
        self.heads = size.heads
        self.norm = nn.LayerNorm(size.width)
        self.project = nn.Linear(size.width, 3 * size.width)
        self.out = nn.Linear(size.width, size.width)

    def forward(self, x: Tensor) -> Tensor:
        frames, width = x.shape[1], x.shape[2]
        split = self.project(self.norm(x)).reshape(-1, frames, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each (B, heads, T, D / heads)
        attended = functional.scaled_dot_product_attention(query, key, value)
        joined: Tensor = self.out(attended.transpose(1, 2).reshape(-1, frames, width))
        return joined


class ConvolutionModule(nn.Module):
    """Gated pointwise, depthwise over time, pointwise; (B, T, D) -> (B, T, D)."""

    def __init__(self, size: ConformerSize) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size.width)
        self.gate = nn.Linear(size.width, 2 * size.width)
        self.depthwise = nn.Conv1d(
            size.width, size.width, size.kernel_frames, padding=size.kernel_frames // 2, groups=size.width, bias=False
        )
        self.batch_norm = nn.BatchNorm1d(size.width)
        self.out = nn.Linear(size.width, size.width)

    def forward(self, x: Tensor) -> Tensor:
        gated = functional.glu(self.gate(self.norm(x)), dim=-1).transpose(1, 2)  # (B, D, T)
        over_time = functional.silu(self.batch_norm(self.depthwise(gated))).transpose(1, 2)
        projected: Tensor = self.out(over_time)
        return projected


class ConformerBlock(nn.Module):
    """Feed-forward, attention, convolution, feed-forward, each a residual."""

    def __init__(self, size: ConformerSize) -> None:
        super().__init__()
        self.before, self.after = FeedForward(size), FeedForward(size)
        self.attention = SelfAttention(size)
        self.convolution = ConvolutionModule(size)
        self.dropout = nn.Dropout(size.dropout)
        self.norm = nn.LayerNorm(size.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.5 * self.dropout(self.before(x))
        x = x + self.dropout(self.attention(x))
        x = x + self.dropout(self.convolution(x))
        x = x + 0.5 * self.dropout(self.after(x))
        normed: Tensor = self.norm(x)
        return normed


class SpeechQualityConformer(SpeechQualityNet):
    """Stem and Conformer blocks."""

    def __init__(self, size: ConformerSize, feature_mean: Tensor, feature_deviation: Tensor) -> None:
        super().__init__(
            feature_mean,
            feature_deviation,
            width=size.width,
            layers=size.blocks + 1,
            head_width=size.head_width,
            dropout=size.dropout,
        )
        self.stem = Stem(mel_bands=size.mel_bands, channels=size.stem_channels, width=size.width)
        self.blocks = nn.ModuleList(ConformerBlock(size) for _ in range(size.blocks))

    def layers(self, normalised: Tensor) -> list[Tensor]:
        """The stem's frames and those of each block."""
        layers = [self.stem(normalised)]
        for block in self.blocks:
            layers.append(block(layers[-1]))
        return layers

"""A small Conformer (Gulati et al. 2020) over log-mel: strided convolutions, two blocks, attention over layers,
attentive statistics, bounded outputs.

Multiply-adds of one 1 s segment at the default sizes, T = 25 frames of d = 96: stem 0.5 M, projection 1.2 M, each block
1.8 M feed-forward + 1.0 M attention + 0.8 M convolution; about 9 M in all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from livemos.kernels.operators import attentive_stats_pool

OUTPUTS = ("mos", "noisiness", "coloration", "discontinuity", "loudness", "speech_ratio", "mos_std")
_LOG_VARIANCE_RANGE = (-6.0, 1.5)  # mos_std from 0.05 to 2.1


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


class Stem(nn.Module):
    """Two strided 2-D convolutions, four times fewer frames and bands: (B, T, F) -> (B, about T / 4, D)."""

    def __init__(self, size: ConformerSize) -> None:
        super().__init__()
        channels = size.stem_channels
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, 2 * channels, 1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(),
        )
        self.project = nn.Linear(2 * channels * (-(-size.mel_bands // 4)), size.width)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.convolutions(x[:, None])  # (B, 2 C, T / 4, F / 4)
        projected: Tensor = self.project(maps.transpose(1, 2).flatten(2))
        return projected


class SpeechQualityConformer(nn.Module):
    """log-mel (B, T, F) float32 -> (B, 7) in the order and the units of OUTPUTS.

    feature_mean, feature_deviation: (F,), of the training features; they belong to the model and leave with it.
    """

    def __init__(self, size: ConformerSize, feature_mean: Tensor, feature_deviation: Tensor) -> None:
        super().__init__()
        self.feature_mean: Tensor
        self.feature_deviation: Tensor
        self.register_buffer("feature_mean", feature_mean)
        self.register_buffer("feature_deviation", feature_deviation)
        self.stem = Stem(size)
        self.blocks = nn.ModuleList(ConformerBlock(size) for _ in range(size.blocks))
        self.layer_scores = nn.Parameter(torch.zeros(size.blocks + 1))
        self.score = nn.Sequential(nn.Linear(size.width, 32), nn.Tanh(), nn.Linear(32, 1))
        self.head = nn.Sequential(
            nn.Linear(2 * size.width, size.head_width),
            nn.SiLU(),
            nn.Dropout(size.dropout),
            nn.Linear(size.head_width, 6),
        )
        self.spread = nn.Sequential(nn.Linear(2 * size.width, 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, F) -> (B, 7)."""
        layers = [self.stem((features - self.feature_mean) / self.feature_deviation)]
        for block in self.blocks:
            layers.append(block(layers[-1]))
        shares = torch.softmax(self.layer_scores, dim=0)
        mixed = sum(share * layer for share, layer in zip(shares.unbind(), layers, strict=True))
        assert isinstance(mixed, Tensor)  # for the type checker: sum() of no layers would be 0
        pooled = attentive_stats_pool(mixed, self.score(mixed).squeeze(-1))  # (B, 2 D)
        heads = torch.sigmoid(self.head(pooled))
        # a model that may excuse its errors stops learning from them: the spread reads, it does not shape
        log_variance = self.spread(pooled.detach()).clamp(*_LOG_VARIANCE_RANGE)
        return torch.cat([1.0 + 4.0 * heads[:, :5], heads[:, 5:], torch.exp(0.5 * log_variance)], dim=1)

"""What every network here shares: normalised log-mel in, attention over layers, attentive statistics, bounded outputs.

A network is a subclass that turns features into layers of frames, a frozen size, and a line in `models.NETWORKS`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from livemos.kernels.operators import attentive_stats_pool
from livemos.training.damages import CAUSES

SCORES = ("mos", "noisiness", "coloration", "discontinuity", "loudness")
CAUSE_OUTPUTS = tuple(f"cause_{name}" for name in (*CAUSES, "none"))
OUTPUTS = (*SCORES, "speech_ratio", "mos_std", *CAUSE_OUTPUTS)
FIRST_CAUSE = OUTPUTS.index(CAUSE_OUTPUTS[0])
_LOG_VARIANCE_RANGE = (-6.0, 1.5)  # mos_std from 0.05 to 2.1


class SpeechQualityNet(nn.Module):
    """log-mel (B, T, F) float32 -> (B, K) in the order and the units of OUTPUTS.

    feature_mean, feature_deviation: (F,), of the training features; they belong to the model and leave with it.
    width: D of the frames; layers: how many the subclass gives; head_width, dropout: of the head behind the pooling.
    """

    def __init__(
        self,
        feature_mean: Tensor,
        feature_deviation: Tensor,
        *,
        width: int,
        layers: int,
        head_width: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.feature_mean: Tensor
        self.feature_deviation: Tensor
        self.register_buffer("feature_mean", feature_mean)
        self.register_buffer("feature_deviation", feature_deviation)
        self.width = width
        self.layer_scores = nn.Parameter(torch.zeros(layers))
        self.score = nn.Sequential(nn.Linear(width, 32), nn.Tanh(), nn.Linear(32, 1))
        self.head = nn.Sequential(
            nn.Linear(2 * width, head_width),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(head_width, len(SCORES) + 1 + len(CAUSE_OUTPUTS)),
        )
        self.spread = nn.Sequential(nn.Linear(2 * width, 32), nn.SiLU(), nn.Linear(32, 1))
        self.spread_scale: Tensor  # set once, after training, on clips that training did not hear
        self.register_buffer("spread_scale", torch.ones(()))

    def layers(self, normalised: Tensor) -> list[Tensor]:
        """(B, T, F) -> layers of one shape, from the entrance to the end."""
        raise NotImplementedError

    def frames(self, mixed: Tensor) -> Tensor:
        """What has the shape of a layer -> (B, T', D)."""
        return mixed

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, F) -> (B, K)."""
        layers = self.layers((features - self.feature_mean) / self.feature_deviation)
        shares = torch.softmax(self.layer_scores, dim=0)
        mixed = sum(share * layer for share, layer in zip(shares.unbind(), layers, strict=True))
        assert isinstance(mixed, Tensor)  # for the type checker: sum() of no layers would be 0
        frames = self.frames(mixed)
        pooled = attentive_stats_pool(frames, self.score(frames).squeeze(-1))  # (B, 2 D)
        raw = self.head(pooled)
        bounded = torch.sigmoid(raw[:, : len(SCORES) + 1])
        causes = torch.softmax(raw[:, len(SCORES) + 1 :], dim=1)
        # a model that may excuse its errors stops learning from them: the spread reads, it does not shape
        log_variance = self.spread(pooled.detach()).clamp(*_LOG_VARIANCE_RANGE)
        spread = torch.exp(0.5 * log_variance) * self.spread_scale
        return torch.cat([1.0 + 4.0 * bounded[:, : len(SCORES)], bounded[:, len(SCORES) :], spread, causes], dim=1)

"""A training run on disk: weights, averages, optimiser and step, read back without unpickling anything but tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from livemos.agent.errors import ConfigError
from livemos.training import models
from livemos.training.models.base import SpeechQualityNet

LATEST = "latest.pt"
FINAL = "model.pt"


def save(path: Path, content: dict[str, Any]) -> None:
    """Write `content` so that a crash leaves the old file or the new one, never half."""
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    partial.replace(path)


def load(path: Path) -> dict[str, Any]:
    """Tensors, numbers and strings of a checkpoint. Raises ConfigError."""
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as missing:
        raise ConfigError(f"checkpoint {path} is missing; run `livemos train fit` first") from missing
    except Exception as damaged:  # torch raises zip, pickle and key errors alike
        reason = str(damaged).partition("\n")[0]
        raise ConfigError(f"checkpoint {path} cannot be read ({reason}); train again") from damaged
    return content


def save_model(path: Path, model: SpeechQualityNet, size: models.Size, facts: dict[str, Any]) -> None:
    """The weights that ship, with what is known of their training (numbers and strings)."""
    save(path, {"size": models.size_as_facts(size), "weights": model.state_dict(), "facts": facts})


def load_model(path: Path) -> tuple[SpeechQualityNet, dict[str, Any]]:
    """The model in evaluation mode, and the facts saved with it. Raises ConfigError."""
    content = load(path)
    try:
        size = models.size_from_facts(content["size"])
        bands = torch.zeros(size.mel_bands)
        model = models.build(size, bands, bands + 1.0)
        model.load_state_dict(content["weights"])
        facts: dict[str, Any] = content["facts"]
    except (KeyError, TypeError, RuntimeError) as other:
        raise ConfigError(f"checkpoint {path} is not a final model of this version ({other}); train again") from other
    return model.eval(), facts

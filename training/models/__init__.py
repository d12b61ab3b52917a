"""The networks by the type of their size. To add one: a module with both, and a line in NETWORKS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from torch import Tensor

from livemos.agent.errors import ConfigError
from livemos.training.models.base import SpeechQualityNet
from livemos.training.models.conformer import ConformerSize, SpeechQualityConformer
from livemos.training.models.residual import ResidualSize, SpeechQualityResidual

Size = ConformerSize | ResidualSize

# a size's type decides the network; its name is what a checkpoint remembers
NETWORKS: dict[str, tuple[type[Any], Callable[[Any, Tensor, Tensor], SpeechQualityNet]]] = {
    "conformer": (ConformerSize, SpeechQualityConformer),
    "residual": (ResidualSize, SpeechQualityResidual),
}


def network_of(size: Size) -> str:
    """The name of the network that a size belongs to."""
    return next(name for name, (kind, _) in NETWORKS.items() if isinstance(size, kind))


def build(size: Size, feature_mean: Tensor, feature_deviation: Tensor) -> SpeechQualityNet:
    """A network with weights drawn at random. feature_mean, feature_deviation: (F,)."""
    return NETWORKS[network_of(size)][1](size, feature_mean, feature_deviation)


def size_as_facts(size: Size) -> dict[str, Any]:
    """Numbers and strings that `size_from_facts` reads."""
    return {"network": network_of(size), **asdict(size)}


def size_from_facts(facts: dict[str, Any]) -> Size:
    """Raises ConfigError for a network that does not exist here, TypeError for sizes it does not have."""
    sizes = dict(facts)
    name = sizes.pop("network", "conformer")
    if name not in NETWORKS:
        raise ConfigError(f"network {name!r} is unknown; this version has {', '.join(NETWORKS)}")
    size: Size = NETWORKS[name][0](**sizes)
    return size

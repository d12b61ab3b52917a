"""livemos.agent: live speech in, scores out. What is listed here is promised; everything else may move."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from livemos.agent.causes import Cause
    from livemos.agent.daemon import Agent
    from livemos.agent.errors import LivemosError
    from livemos.agent.reasons import Reason
    from livemos.agent.records import ClipScore, ModelDescription, SegmentScore
    from livemos.agent.scorer import Scorer, ScoringStream
    from livemos.agent.settings import Settings, load_settings

__all__ = [
    "Agent",
    "Cause",
    "ClipScore",
    "LivemosError",
    "ModelDescription",
    "Reason",
    "Scorer",
    "ScoringStream",
    "SegmentScore",
    "Settings",
    "load_settings",
]

_HOMES = {
    "Agent": "daemon",
    "Cause": "causes",
    "ClipScore": "records",
    "LivemosError": "errors",
    "ModelDescription": "records",
    "Reason": "reasons",
    "Scorer": "scorer",
    "ScoringStream": "scorer",
    "SegmentScore": "records",
    "Settings": "settings",
    "load_settings": "settings",
}


def __getattr__(name: str) -> Any:
    """Import on first use: the command line must not pay for a model it does not load."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

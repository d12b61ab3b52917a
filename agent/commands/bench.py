"""`livemos bench`: what this machine holds, measured with real packets and a real subscriber."""

from __future__ import annotations

import typer

from livemos.agent.lazy_commands import Benchmarks

app = typer.Typer(cls=Benchmarks, no_args_is_help=True, add_completion=False, rich_markup_mode=None)

ENCODINGS = {"pcmu": ("PCMU/8000", 0), "pcma": ("PCMA/8000", 8), "g722": ("G722/8000", 9), "opus": ("opus/48000/2", 96)}


@app.callback()
def bench() -> None:
    """Measure: streams a core holds, latency, engines, kernels."""

"""What all pictures share. matplotlib's Figure objects, without pyplot and its global state; no display is needed."""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

DPI = 80
BLUE, ORANGE, GREY = "#1f5f8b", "#d1651f", "#8a8a8a"
COLOURS = ("#1f5f8b", "#d1651f", "#3a8f5c", "#8d4b9e", "#8a8a8a")
_PALETTE = 64  # a chart has few colours: a third of the bytes, and reports are kept in the repository


def png(figure: Figure) -> bytes:
    """The figure as a PNG, without a note of what drew it."""
    drawn, buffer = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(_PALETTE, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def panels(count: int, width: float, height: float, columns: int) -> tuple[Figure, list[Axes]]:
    """`count` panels of that size in inches, in rows of `columns`."""
    rows = -(-count // columns)
    figure = Figure(figsize=(width * min(columns, count), height * rows), dpi=DPI, layout="constrained")
    axes = figure.subplots(rows, min(columns, count), squeeze=False).ravel().tolist()
    for unused in axes[count:]:
        unused.set_visible(False)
    return figure, axes[:count]


def plain(axes: Axes) -> None:
    """A light grid, no frame."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.tick_params(labelsize=8)

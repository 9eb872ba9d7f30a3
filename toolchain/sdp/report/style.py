"""How sdp's pictures look: one style, and SVG text whose colours follow the page, light or dark."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure

# Drawn in this colour, then replaced: text and axes take the colour of the text around them.
FOREGROUND = "#123456"
DENSE, PRUNED, ACCENT = "#7a8ba6", "#d1603d", "#3a8f6b"
# Of the lines of a picture, where there are several.
COLOURS = (PRUNED, ACCENT, "#8b6bb5", "#c9a227", "#4aa3c7", "#b5506d", "#6b7a3a", "#555555")
MARKERS = "osD^vP*X"

STYLE: Any = {
    "svg.fonttype": "none",
    # Fixed ids: the same numbers give the same page.
    "svg.hashsalt": "sdp",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), FOREGROUND),
}


def svg(figure: Figure) -> str:
    """A figure as SVG text, to be put into a page."""
    stream = io.StringIO()
    figure.savefig(
        stream,
        format="svg",
        transparent=True,
        bbox_inches="tight",
        metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
    )
    text = stream.getvalue()
    return text[text.index("<svg") :].replace(FOREGROUND, "currentColor")


def svg_file(figure: Figure) -> str:
    """A figure as an SVG file of its own, which has no page to take its colours from."""
    return svg(figure).replace("<svg ", '<svg style="color: #333333; background: white" ', 1)

"""How sdp's pictures look: one style, and SVG text whose colours follow the page, light or dark."""

from __future__ import annotations

import hashlib
import io
import re
from html import escape
from typing import Any

from matplotlib.figure import Figure

# Drawn in this colour, then replaced: text and axes take the colour of the text around them.
FOREGROUND = "#123456"
DENSE, PRUNED, ACCENT = "#7a8ba6", "#d1603d", "#3a8f6b"
# Of the lines of a picture, where there are several.
COLOURS = (PRUNED, ACCENT, "#8b6bb5", "#c9a227", "#4aa3c7", "#b5506d", "#6b7a3a", "#555555")
MARKERS = "osD^vP*X"

# Inches. A picture is shown at most as wide as it is drawn and shrinks on a phone to three quarters of that, where its
# text must still be readable: several small pictures side by side instead of a wide one.
WIDTH = 4.7

STYLE: Any = {
    "svg.fonttype": "none",
    # Fixed ids: the same numbers give the same page.
    "svg.hashsalt": "sdp",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), FOREGROUND),
}


def svg(figure: Figure, label: str) -> str:
    """A figure as SVG text, to be put into a page.

    Args:
        figure: the figure.
        label: what it shows, for those who hear the page.
    """
    stream = io.StringIO()
    figure.savefig(
        stream,
        format="svg",
        transparent=True,
        bbox_inches="tight",
        metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
    )
    text = stream.getvalue()
    text = text[text.index("<svg") :].replace(FOREGROUND, "currentColor")
    return _own_ids(text, label).replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


def _own_ids(text: str, label: str) -> str:
    """Ids that no other picture of the page has; matplotlib calls the parts of every figure alike."""
    prefix = f"s{hashlib.sha256((label + text).encode()).hexdigest()[:8]}-"
    return re.sub(r'(\bid="|\bhref="#|url\(#)', rf"\g<1>{prefix}", text)


def svg_file(figure: Figure, label: str) -> str:
    """A figure as an SVG file of its own, which has no page to take its colours from; `label` as for `svg`."""
    return svg(figure, label).replace("<svg ", '<svg style="color: #333333; background: white" ', 1)

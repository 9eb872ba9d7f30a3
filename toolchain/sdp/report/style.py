"""How sdp's pictures look: one style, and SVG text whose colours follow the page, light or dark."""

from __future__ import annotations

import hashlib
import io
import re
import unicodedata
import warnings
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

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


def plain(name: str) -> str:
    """A name from data or options as a figure shows it letter by letter: between two $ there would be a formula."""
    return name.replace("$", r"\$")


def is_wide(letter: str) -> bool:
    """Whether a letter takes the room of two, as 東 does."""
    return unicodedata.east_asian_width(letter) in "WF"


def unmeasured(name: str) -> float:
    """Inches that a name needs beyond what matplotlib, whose font lacks wide letters, takes it to need."""
    # A box of 0.6 em stands for a letter of 1 em.
    return 0.4 * sum(map(is_wide, name)) * float(STYLE["font.size"]) / 72


def svg(figure: Figure, label: str, *, left: float = 0.0) -> str:
    """A figure as SVG text, to be put into a page.

    Args:
        figure: the figure.
        label: what it shows, for those who hear the page.
        left: inches to leave free on the left, beside the usual margin.
    """
    stream = io.StringIO()
    with warnings.catch_warnings():
        # The page's reader has fonts that this machine may lack.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        box = figure.get_tightbbox().padded(mpl.rcParams["savefig.pad_inches"])
        figure.savefig(
            stream,
            format="svg",
            transparent=True,
            bbox_inches=Bbox.from_extents(box.x0 - left, box.y0, box.x1, box.y1),
            metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
        )
    text = stream.getvalue()
    text = _own_page(text[text.index("<svg") :], label)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


def _own_page(text: str, label: str) -> str:
    """The page's colour, and ids that no other picture of it has; matplotlib calls the parts of every figure alike."""
    prefix = f"s{hashlib.sha256((label + text).encode()).hexdigest()[:8]}-"

    def change(tag: re.Match[str]) -> str:
        return re.sub(r'(\bid="|\bhref="#|url\(#)', rf"\g<1>{prefix}", tag[0]).replace(FOREGROUND, "currentColor")

    # In tags alone: between them is what somebody wrote.
    return re.sub(r"<[^>]+>", change, text)


def svg_file(figure: Figure, label: str) -> str:
    """A figure as an SVG file of its own, which has no page to take its colours from; `label` as for `svg`."""
    return svg(figure, label).replace("<svg ", '<svg style="color: #333333; background: white" ', 1)

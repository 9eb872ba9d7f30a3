"""The style of sdp's plots, and SVG text whose colours follow the page, light or dark."""

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

# A placeholder colour: text and axes get the colour of the surrounding text.
FOREGROUND = "#123456"
DENSE, PRUNED, ACCENT = "#7a8ba6", "#d1603d", "#3a8f6b"
# Colours of several lines in a plot.
COLOURS = (PRUNED, ACCENT, "#8b6bb5", "#c9a227", "#4aa3c7", "#b5506d", "#6b7a3a", "#555555")
MARKERS = "osD^vP*X"

# Inches. A plot is shown at most at its drawn width, and on a phone at three quarters of it, where its text must still
# be readable: several small plots side by side instead of a wide one.
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
    """Escape a name for a figure, where text between two $ would be a formula."""
    return name.replace("$", r"\$")


def is_wide(letter: str) -> bool:
    """Whether a letter is as wide as two, such as 東."""
    return unicodedata.east_asian_width(letter) in "WF"


def unmeasured(name: str) -> float:
    """Return the inches that a name needs beyond matplotlib's estimate, whose font lacks wide letters."""
    # matplotlib measures a box of 0.6 em for a letter of 1 em.
    return 0.4 * sum(map(is_wide, name)) * float(STYLE["font.size"]) / 72


def svg(figure: Figure, label: str, *, left: float = 0.0) -> str:
    """Return a figure as SVG text for a page.

    Args:
        figure: the figure.
        label: description for screen readers.
        left: additional inches of the left margin.
    """
    stream = io.StringIO()
    with warnings.catch_warnings():
        # The browser may have fonts that this machine lacks.
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
    """Use the page's colour, and ids that are unique in the page: matplotlib uses the same ids in every figure."""
    prefix = f"s{hashlib.sha256((label + text).encode()).hexdigest()[:8]}-"

    def change(tag: re.Match[str]) -> str:
        return re.sub(r'(\bid="|\bhref="#|url\(#)', rf"\g<1>{prefix}", tag[0]).replace(FOREGROUND, "currentColor")

    # In tags alone, because texts between them come from the user.
    return re.sub(r"<[^>]+>", change, text)


def svg_file(figure: Figure, label: str) -> str:
    """Return a figure as an SVG file with its own colours; `label` as for `svg`."""
    return svg(figure, label).replace("<svg ", '<svg style="color: #333333; background: white" ', 1)

"""The frontier as a picture: the metric against speed-up and against size, a point for each level."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sdp.gate.check import Outcome
from sdp.report.style import COLOURS, DENSE, FOREGROUND, MARKERS, STYLE, svg_file
from sdp.sweep.artifacts import MeasuredLevel
from sdp.sweep.frontier import Frontier
from sdp_onnx.bench.interval import Interval

SIZE = 5.5
# A marker's fill shows the gate's verdict on its level. Keywords of matplotlib are of many types.
FILLS: dict[Outcome, Any] = {
    "pass": {},
    "inconclusive": {"fillstyle": "left", "markerfacecoloralt": "white"},
    "fail": {"markerfacecolor": "white"},
}
# Behind a name, for the whiskers of others that may pass there.
BACKGROUND: Any = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
RING: Any = {"marker": "o", "markersize": 12, "color": FOREGROUND, "fillstyle": "none", "linestyle": "none"}


def frontier_plot(frontier: Frontier) -> str | None:
    """The plot as a self-contained SVG file; None before a level is finished."""
    dense, levels = frontier.dense, frontier.levels
    if dense is None or not levels:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 4.0))
        speed, size = figure.subplots(1, 2, sharey=True)
        for index, case in enumerate(levels[0].cases):
            color, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
            _line(speed, frontier, [level.cases[index].speedup for level in levels], color, marker)
            speed.plot([], [], label=case.case, linewidth=0.9, markersize=4, color=color, marker=marker)
        sizes = [level.bytes / 1e6 for level in levels]
        _line(size, frontier, [Interval.exact(x) for x in sizes], FOREGROUND, "o")
        # On the side that the line, which falls here and rises there, leaves free.
        _names(speed, levels, [max(case.speedup.high for case in level.cases) for level in levels], "left", 7)
        _names(size, levels, sizes, "right", -7)
        for axes, place in ((speed, 1.0), (size, dense.bytes / 1e6)):
            height = _drawn(dense.metric)
            axes.axhline(height.value, color=DENSE, linestyle="--", linewidth=0.8)
            axes.errorbar([place], [height.value], _whiskers([height]), fmt="o", color=DENSE, capsize=2)
            axes.margins(x=0.12)
        speed.plot([], [], "o", color=DENSE, label="dense")
        speed.set_xlabel("speed-up against the dense ONNX file, 95 % interval")
        speed.set_ylabel(f"{frontier.metric} on {levels[0].split}, 95 % interval")
        speed.legend(frameon=False, fontsize=7)
        size.set_xlabel("ONNX file, MB")
        size.legend(handles=_key(frontier), frameon=False, fontsize=7, loc="lower right")
        figure.tight_layout()
        return svg_file(figure, f"{frontier.metric} against speed-up and against size")


def _line(axes: Axes, frontier: Frontier, across: Sequence[Interval], color: str, marker: str) -> None:
    """One line through the levels, with whiskers in both directions, and a ring around the chosen one."""
    up = [_drawn(level.metric) for level in frontier.levels]
    x, y = [interval.value for interval in across], [interval.value for interval in up]
    axes.errorbar(x, y, _whiskers(up), _whiskers(across), color=color, linewidth=0.9, capsize=2)
    for place, height, level in zip(x, y, frontier.levels, strict=True):
        # Over the lines.
        fill = FILLS[level.verdict]
        axes.plot([place], [height], markersize=SIZE, zorder=4, color=color, marker=marker, **fill)
        if level is frontier.chosen:
            axes.plot([place], [height], **RING)


def _drawn(measured: Interval | None) -> Interval:
    """The interval to draw; of an undefined one NaN, which matplotlib leaves out."""
    return measured if measured is not None else Interval.exact(nan)


def _whiskers(intervals: Sequence[Interval]) -> list[list[float]]:
    below = [interval.value - interval.low for interval in intervals]
    return [below, [interval.high - interval.value for interval in intervals]]


def _names(axes: Axes, levels: Sequence[MeasuredLevel], places: Sequence[float], align: str, across: float) -> None:
    """The sparsity of each level, beside its point at that place."""
    for level, place in zip(levels, places, strict=True):
        if level.metric is None:
            continue
        at, text = (place, level.metric.value), f"{level.sparsity:g}"
        offset: Any = {"xytext": (across, 4), "textcoords": "offset points", "ha": align}
        axes.annotate(text, at, fontsize=8, bbox=BACKGROUND, **offset)


def _key(frontier: Frontier) -> list[Line2D]:
    """The legend of the fillings and the ring that occur."""
    seen = {level.verdict for level in frontier.levels}
    handles = [
        Line2D([], [], marker="o", linestyle="none", color=FOREGROUND, label=f"gate: {outcome}", **fill)
        for outcome, fill in FILLS.items()
        if outcome in seen
    ]
    return handles if frontier.chosen is None else [*handles, Line2D([], [], label="chosen", **RING)]

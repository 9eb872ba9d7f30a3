"""The frontier as a picture: the metric against speed-up and against size, a point for each level."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sdp.gate import Outcome
from sdp.report.style import COLOURS, DENSE, FOREGROUND, MARKERS, STYLE, svg_file
from sdp.sweep.frontier import Dense, Estimate, Frontier, Point

SIZE = 5.5
# How a point is filled says what the gate said of its level.
FILLS: dict[Outcome, str] = {"pass": "full", "inconclusive": "left", "fail": "none"}


def frontier_plot(frontier: Frontier) -> str | None:
    """The plot as a self-contained SVG file; None before a level is finished."""
    dense, points = frontier.dense, frontier.points
    if dense is None or not points:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 4.0))
        speed, size = figure.subplots(1, 2, sharey=True)
        _dense_line(speed, dense, 1.0)
        for index, case in enumerate(points[0].cases):
            across = [point.cases[index].speedup for point in points]
            _line(speed, points, across, index, label=case.case)
        _dense_line(size, dense, dense.bytes / 1e6)
        exact = [Estimate(value, value, value) for value in (point.bytes / 1e6 for point in points)]
        _line(size, points, exact, None, label=None)
        for place, right in (
            (speed, [max(case.speedup.high for case in point.cases) for point in points]),
            (size, [estimate.high for estimate in exact]),
        ):
            _names(place, points, right, frontier.chosen)
        speed.set_xlabel("speed-up against the dense ONNX file, 95 % interval")
        speed.set_ylabel(f"{frontier.metric} on {points[0].split}, 95 % interval")
        size.set_xlabel("ONNX file, MB")
        size.set_xlim(left=0)
        speed.legend(frameon=False, fontsize=7, loc="best")
        size.legend(handles=_key(points, frontier), frameon=False, fontsize=7, loc="lower left")
        figure.tight_layout()
        return svg_file(figure)


def _dense_line(axes: Axes, dense: Dense, place: float) -> None:
    """The dense model: a point with its interval, and a level line to compare with."""
    axes.axhline(dense.metric.value, color=DENSE, linestyle="--", linewidth=0.8)
    axes.errorbar(
        [place],
        [dense.metric.value],
        yerr=_whiskers([dense.metric]),
        color=DENSE,
        marker="o",
        markersize=SIZE,
        capsize=2,
        linestyle="none",
        label="dense",
    )


def _line(
    axes: Axes, points: Sequence[Point], across: Sequence[Estimate], index: int | None, label: str | None
) -> None:
    """One line through the levels, with whiskers in both directions."""
    colour = FOREGROUND if index is None else COLOURS[index % len(COLOURS)]
    marker = MARKERS[(index or 0) % len(MARKERS)]
    up = [point.metric for point in points]
    x, y = [estimate.value for estimate in across], [estimate.value for estimate in up]
    axes.errorbar(x, y, xerr=_whiskers(across), yerr=_whiskers(up), color=colour, linewidth=0.9, capsize=2)
    for place, height, point in zip(x, y, points, strict=True):
        axes.plot([place], [height], marker=marker, color=colour, fillstyle=FILLS[point.verdict], markersize=SIZE)
    if label is not None:
        axes.plot([], [], color=colour, marker=marker, markersize=4, linewidth=0.9, label=label)


def _whiskers(estimates: Sequence[Estimate]) -> list[list[float]]:
    below = [estimate.value - estimate.low for estimate in estimates]
    return [below, [estimate.high - estimate.value for estimate in estimates]]


def _names(axes: Axes, points: Sequence[Point], right: Sequence[float], chosen: Point | None) -> None:
    """The sparsity of each level, beside its rightmost point; the chosen one's in bold."""
    for point, place in zip(points, right, strict=True):
        weight = "bold" if point is chosen else "normal"
        axes.annotate(
            f"{point.sparsity:g}",
            (place, point.metric.value),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=8,
            fontweight=weight,
        )


def _key(points: Sequence[Point], frontier: Frontier) -> list[Line2D]:
    """What fillings mean, for those that occur."""
    seen = {point.verdict for point in points}
    handles = [
        Line2D(
            [], [], marker="o", linestyle="none", color=FOREGROUND, fillstyle=FILLS[outcome], label=f"gate: {outcome}"
        )
        for outcome in FILLS
        if outcome in seen
    ]
    if frontier.chosen is not None:
        handles.append(Line2D([], [], linestyle="none", label=f"chosen: {frontier.chosen.sparsity:g} (bold)"))
    return handles

"""The report's pictures of what pruning did to the network: small plots over optimizer steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdp.report.plots import steps
from sdp.report.style import ACCENT, DENSE, PRUNED, STYLE, WIDTH, svg

# Name in the file, name in the legend, colour.
_Line = tuple[str, str, str]


def pruning_analysis(analysis: Mapping[str, Any]) -> list[str]:
    """Plots of everything in analysis.json that the task has; a vertical piece of a line is a mask update.

    Args:
        analysis: the content of analysis.json.
    """
    return [_picture(title, draw) for title, draw in _panels(analysis)]


def _picture(title: str, draw: Callable[[Axes], None]) -> str:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.5))
        axes: Axes = figure.subplots()
        axes.set_title(title, loc="left", pad=20)
        draw(axes)
        steps(axes)
        axes.margins(y=0.12)
        if axes.get_legend_handles_labels()[0]:
            # Between title and axes, where it hides no line.
            place: Any = {"loc": "lower left", "bbox_to_anchor": (-0.02, 0.98), "borderaxespad": 0.2}
            axes.legend(fontsize=9.5, ncols=3, handlelength=1.2, columnspacing=1.0, **place)
        return svg(figure, f"{title}, over the steps of pruning")


def _panels(analysis: Mapping[str, Any]) -> list[tuple[str, Callable[[Axes], None]]]:
    curve, teacher = analysis["curve"], analysis["teacher"]
    weights = [{"step": update["step"], **update["weights"]} for update in analysis["updates"]]

    def lines(records: Iterable[Mapping[str, Any]], *chosen: _Line, at_updates: bool = False) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            for key, label, colour in chosen:
                _line(axes, records, key, label, colour, marker="o" if at_updates else None)

        return draw

    def with_teacher(key: str) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            _line(axes, curve, key, "student", PRUNED)
            if teacher[key] is not None:
                axes.axhline(teacher[key], color=DENSE, linewidth=1, linestyle="--", label="teacher")

        return draw

    def fisher(axes: Axes) -> None:
        with_teacher("fisher")(axes)
        values = [look["fisher"] for look in (teacher, *curve) if look["fisher"]]
        # A fine-tuned network may separate classes a hundred times as well as a pruned one.
        if values and max(values) > 20 * min(values):
            axes.set_yscale("log")

    def ratios(axes: Axes) -> None:
        _line(axes, curve, "output_snr_db", "representation", PRUNED)
        _line(axes, weights, "snr_db", "weights, before each mask", ACCENT, marker="o")

    likeness = lines(
        curve, ("cka", "linear CKA", DENSE), ("cosine", "cosine", ACCENT), ("agreement", "same prediction", PRUNED)
    )
    sparse = lines(weights, ("hoyer", "Hoyer index", DENSE), ("below", "share below max/1000", PRUNED), at_updates=True)
    panels = [
        (f"{analysis['metric']}, drops and recovery", with_teacher("metric")),
        ("likeness to the teacher", likeness),
    ]
    if "separability" in teacher:
        panels += [
            ("class separability R²", with_teacher("separability")),
            ("Fisher ratio", fisher),
        ]
    return [*panels, ("signal to noise, dB", ratios), ("kept weights, before each mask", sparse)]


def _line(
    axes: Axes, records: Iterable[Mapping[str, Any]], key: str, label: str, colour: str, marker: str | None = None
) -> None:
    points = [(record["step"], record[key]) for record in records if record.get(key) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), color=colour, label=label, linewidth=1.3, marker=marker, markersize=2.5)

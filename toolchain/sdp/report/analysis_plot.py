"""The report's pictures of what pruning did to the network: small plots over optimizer steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdp.pipeline.artifacts.analysis import AnalysisReport
from sdp.report.plots import steps
from sdp.report.style import ACCENT, DENSE, PRUNED, STYLE, WIDTH, svg

# Step and value.
_Points = list[tuple[int, float]]
# Name of the field, name in the legend, colour.
_Line = tuple[str, str, str]


def pruning_analysis(analysis: AnalysisReport) -> list[str]:
    """Plots of everything in analysis.json that the task has; a vertical piece of a line is a mask update."""
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


def _panels(analysis: AnalysisReport) -> list[tuple[str, Callable[[Axes], None]]]:
    teacher = analysis.teacher

    def curve(name: str) -> _Points:
        return _known((look.step, getattr(look, name)) for look in analysis.curve)

    def weights(name: str) -> _Points:
        return _known((update.step, getattr(update.weights, name)) for update in analysis.updates)

    def lines(*chosen: _Line, of: Callable[[str], _Points], marker: str | None = None) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            for name, label, colour in chosen:
                _line(axes, of(name), label, colour, marker)

        return draw

    def with_teacher(name: str) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            _line(axes, curve(name), "student", PRUNED)
            if (value := getattr(teacher, name)) is not None:
                axes.axhline(value, color=DENSE, linewidth=1, linestyle="--", label="teacher")

        return draw

    def fisher(axes: Axes) -> None:
        with_teacher("fisher")(axes)
        values = [value for value in (teacher.fisher, *(look.fisher for look in analysis.curve)) if value]
        # A fine-tuned network may separate classes a hundred times as well as a pruned one.
        if values and max(values) > 20 * min(values):
            axes.set_yscale("log")

    def ratios(axes: Axes) -> None:
        _line(axes, curve("output_snr_db"), "representation", PRUNED)
        _line(axes, weights("snr_db"), "weights, before each mask", ACCENT, "o")

    likeness = lines(
        ("cka", "linear CKA", DENSE), ("cosine", "cosine", ACCENT), ("agreement", "same prediction", PRUNED), of=curve
    )
    sparse = lines(("hoyer", "Hoyer index", DENSE), ("below", "share below max/1000", PRUNED), of=weights, marker="o")
    panels = [
        (f"{analysis.metric}, drops and recovery", with_teacher("metric")),
        ("likeness to the teacher", likeness),
    ]
    if "separability" in teacher.model_fields_set:
        panels += [
            ("class separability R²", with_teacher("separability")),
            ("Fisher ratio", fisher),
        ]
    return [*panels, ("signal to noise, dB", ratios), ("kept weights, before each mask", sparse)]


def _known(points: Iterable[tuple[int, float | None]]) -> _Points:
    return [(step, value) for step, value in points if value is not None]


def _line(axes: Axes, points: _Points, label: str, colour: str, marker: str | None = None) -> None:
    if points:
        axes.plot(*zip(*points, strict=True), color=colour, label=label, linewidth=1.3, marker=marker, markersize=2.5)

"""Plots of the report as SVG text for the page. Colours follow the page: light or dark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sdp.pipeline.artifacts.analysis import AnalysisReport
from sdp.pipeline.artifacts.kept_units import KeptPart
from sdp.pipeline.artifacts.training import LogRecord
from sdp.report.style import ACCENT, DENSE, FOREGROUND, PRUNED, STYLE, WIDTH, is_wide, plain, svg, unmeasured
from sdp_onnx.bench.interval import Interval, Undefined
from sdp_onnx.bench.results import CaseResult

PART_COLOURS = {"embeddings": DENSE, "encoder": PRUNED, "rest": ACCENT}
# Share of the longer bar below which a number does not fit.
_ROOM_FOR_A_NUMBER = 0.14
# Columns of a name beside a plot; a wide letter takes two.
_COLUMNS = 18


def training_curves(title: str, log: Sequence[LogRecord], metric: str) -> list[str]:
    """Plot a training stage over optimizer steps: the loss, and the dev metric with the share of zeros.

    Args:
        title: description of the stage.
        log: its records; each has "step" and one of "loss", "dev" (None where it is undefined), "sparsity".
        metric: name of the dev metric.
    """
    with mpl.rc_context(STYLE):
        loss, axes = _figure(2.3, f"{title}: training loss")
        _line(axes, log, "loss", DENSE, "training loss")
        score, axes = _figure(2.3, f"{title}: {metric} on dev")
        _line(axes, log, "dev", ACCENT, f"{metric} on dev", marker="o")
        _line(axes, log, "sparsity", PRUNED, "encoder zeros", drawstyle="steps-post")
        axes.set_ylim(min((0, *(record.get("dev") or 0 for record in log))), 1.02)
        if len(axes.lines) > 1:
            axes.legend(loc="best")
        for figure in (loss, score):
            steps(figure.axes[0])
        return [
            svg(loss, f"Training loss over the steps of {title}"),
            svg(score, f"{metric} on dev over the steps of {title}"),
        ]


def steps(axes: Axes) -> None:
    """Format a horizontal axis of optimizer steps."""
    axes.set_xlabel("optimizer step")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _figure(height: float, title: str = "") -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height))
    axes: Axes = figure.subplots()
    if title:
        axes.set_title(title, loc="left")
    return figure, axes


def _line(axes: Axes, log: Sequence[LogRecord], key: str, colour: str, label: str, **style: Any) -> None:
    points = [(record["step"], record[key]) for record in log if record.get(key) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), color=colour, label=label, markersize=3, linewidth=1.5, **style)


def losses(rows: Sequence[tuple[str, Interval | Undefined]], what: str) -> str:
    """Plot the loss of each row as a dot with its 95 % interval; losses lie right of the line at zero.

    Args:
        rows: name and drop of each; a row where it is undefined has no dot.
        what: what was lost, in words.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _figure(0.8 + 0.25 * len(rows))
        axes.axvline(0, color=FOREGROUND, linewidth=0.8)
        for place, (_, drop) in enumerate(rows):
            if isinstance(drop, Undefined):
                continue
            colour = PRUNED if drop.low > 0 else ACCENT if drop.high < 0 else DENSE
            axes.plot([drop.low, drop.high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
            axes.plot([drop.value], [place], "o", color=colour, markersize=5)
        names = [_short(name) for name, _ in rows]
        axes.set_yticks(range(len(rows)), [plain(name) for name in names])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.margins(x=0.08)
        axes.set_xlabel(f"{what} lost, 95 % interval")
        # The default tick labels would overlap.
        axes.xaxis.set_major_locator(MaxNLocator(5))
        label = f"{what} lost by row, a dot with its 95 % interval for each; the table has the numbers"
        return svg(figure, label, left=max(map(unmeasured, names)))


def _short(name: str) -> str:
    ends = list(accumulate(2 if is_wide(letter) else 1 for letter in name))
    return name if not ends or ends[-1] <= _COLUMNS else f"{name[: sum(end < _COLUMNS for end in ends)]}…"


@dataclass
class PartSize:
    """A part of the model: its elements and zeros, and its bytes in the exported file and as dense float32."""

    name: str
    bytes: int = 0
    dense_bytes: int = 0
    elements: int = 0
    zeros: int = 0


def sizes(parts: Sequence[PartSize]) -> str:
    """Plot megabytes by part as two stacked bars, dense and exported."""
    bars = [("dense", [part.dense_bytes for part in parts]), ("exported", [part.bytes for part in parts])]
    longest = max(sum(bytes_of_parts) for _, bytes_of_parts in bars) / 1e6
    with mpl.rc_context(STYLE):
        figure, axes = _figure(1.7)
        for place, (_, bytes_of_parts) in enumerate(bars):
            start = 0.0
            for part, count in zip(parts, bytes_of_parts, strict=True):
                size, colour = count / 1e6, PART_COLOURS[part.name]
                axes.barh(place, size, left=start, height=0.62, color=colour, label="" if place else part.name)
                if size > _ROOM_FOR_A_NUMBER * longest:
                    # Dark text is readable on all three colours, in both schemes.
                    axes.text(start + size / 2, place, _megabytes(size), ha="center", va="center", color="#000000")
                start += size
        axes.set_yticks(range(len(bars)), [name for name, _ in bars])
        axes.invert_yaxis()
        axes.set_xlabel("MB of weights")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, handlelength=1.2, columnspacing=1.2)
        return svg(figure, "Megabytes of weights by part, dense against exported; the table has the numbers")


def kept_units(layers: Mapping[str, Mapping[str, KeptPart]]) -> str:
    """Plot the share of heads and of neurons that each layer has, as two bars a layer.

    Args:
        layers: name of a layer -> kind of its units -> which are left.
    """
    colours = {"heads": DENSE, "neurons": PRUNED}
    with mpl.rc_context(STYLE):
        figure, axes = _figure(0.9 + 0.34 * len(layers))
        for place, parts in enumerate(layers.values()):
            for number, (kind, part) in enumerate(parts.items()):
                middle = place + 0.4 * (number - (len(parts) - 1) / 2)
                axes.barh(middle, 1, height=0.36, color=colours[kind], alpha=0.15)
                label = "" if place else kind
                axes.barh(middle, len(part.kept) / part.of, height=0.36, color=colours[kind], label=label)
        axes.set_yticks(range(len(layers)), [_short(name) for name in layers])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel("left of the dense network")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, handlelength=1.2, columnspacing=1.2)
        return svg(figure, "Share of heads and of neurons that each layer has left; the table has the numbers")


def _megabytes(size: float) -> str:
    return f"{size:.0f}" if size >= 10 else f"{size:.1f}" if size >= 1 else f"{size:.2f}"


def latency(cases: Sequence[CaseResult]) -> str:
    """Plot two bars for each measured case, dense and exported: p50 with a whisker to p90, in milliseconds."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure(1.0 + 0.75 * len(cases))
        longest = max(times.p90_ms for case in cases for times in (case.baseline, case.candidate))
        for offset, measured, colour, label in (
            (-0.1, [case.baseline for case in cases], DENSE, "dense"),
            (0.18, [case.candidate for case in cases], PRUNED, "exported"),
        ):
            for index, times in enumerate(measured):
                middle, upper, place = times.p50_ms, times.p90_ms, index + offset
                axes.barh(place, middle, height=0.26, color=colour, label="" if index else label)
                whisker: list[list[float]] = [[0], [upper - middle]]
                axes.errorbar(middle, place, xerr=whisker, fmt="none", ecolor=FOREGROUND, capsize=2)
                axes.text(upper + 0.02 * longest, place, f"{middle:.3g}", va="center")
        # A name above its bars can use the whole width.
        for index, case in enumerate(cases):
            threads = f"{case.threads} thread{'s' * (case.threads > 1)}"
            axes.text(0, index - 0.36, f"{case.case}, {threads}", va="center")
        axes.set_yticks([])
        axes.spines.left.set_visible(False)
        axes.set_ylim(len(cases) - 0.6, -0.6)
        axes.set_xlim(0, 1.14 * longest)
        axes.set_xlabel("ms for one call: p50, whisker to p90")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, handlelength=1.2)
        return svg(figure, "Milliseconds for one call, dense against exported; the table has the numbers")


# Step and value.
_Points = list[tuple[int, float]]
# Name of the field, name in the legend, colour.
_Line = tuple[str, str, str]


def pruning_analysis(analysis: AnalysisReport) -> list[str]:
    """Plot all measures in analysis.json; a vertical segment of a line is a mask update."""
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
            # Between title and axes, where the legend covers no line.
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
                _trace(axes, of(name), label, colour, marker)

        return draw

    def with_teacher(name: str) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            _trace(axes, curve(name), "student", PRUNED)
            if (value := getattr(teacher, name)) is not None:
                axes.axhline(value, color=DENSE, linewidth=1, linestyle="--", label="teacher")

        return draw

    def fisher(axes: Axes) -> None:
        with_teacher("fisher")(axes)
        values = [value for value in (teacher.fisher, *(look.fisher for look in analysis.curve)) if value]
        # The separability of a fine-tuned network may be a hundred times that of a pruned one.
        if values and max(values) > 20 * min(values):
            axes.set_yscale("log")

    def ratios(axes: Axes) -> None:
        _trace(axes, curve("output_snr_db"), "representation", PRUNED)
        _trace(axes, weights("snr_db"), "weights, before each mask", ACCENT, "o")

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


def _trace(axes: Axes, points: _Points, label: str, colour: str, marker: str | None = None) -> None:
    if points:
        axes.plot(*zip(*points, strict=True), color=colour, label=label, linewidth=1.3, marker=marker, markersize=2.5)

"""Plots of the report as SVG text for the page. Colours follow the page: light or dark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sdp.report.style import ACCENT, DENSE, FOREGROUND, PRUNED, STYLE, WIDTH, is_wide, plain, svg, unmeasured

PART_COLOURS = {"embeddings": DENSE, "encoder": PRUNED, "rest": ACCENT}
# Share of the longer bar below which a number does not fit.
_ROOM_FOR_A_NUMBER = 0.14
# Columns of a name beside a plot; a wide letter takes two.
_COLUMNS = 18


def training_curves(title: str, log: list[dict[str, Any]], metric: str) -> list[str]:
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
        axes.set_ylim(min(0, *(record.get("dev") or 0 for record in log)), 1.02)
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


def _line(axes: Axes, log: list[dict[str, Any]], key: str, colour: str, label: str, **style: Any) -> None:
    points = [(record["step"], record[key]) for record in log if record.get(key) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), color=colour, label=label, markersize=3, linewidth=1.5, **style)


def losses(rows: Sequence[tuple[str, Mapping[str, Any]]], what: str) -> str:
    """Plot the loss of each row as a dot with its 95 % interval; losses lie right of the line at zero.

    Args:
        rows: name and "value", "low" and "high" of each; a row where they are None has no dot.
        what: name of the lost quantity.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _figure(0.8 + 0.25 * len(rows))
        axes.axvline(0, color=FOREGROUND, linewidth=0.8)
        for place, (_, drop) in enumerate(rows):
            if drop["value"] is None:
                continue
            colour = PRUNED if drop["low"] > 0 else ACCENT if drop["high"] < 0 else DENSE
            axes.plot([drop["low"], drop["high"]], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
            axes.plot([drop["value"]], [place], "o", color=colour, markersize=5)
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


def sizes(parts: Sequence[Mapping[str, Any]]) -> str:
    """Plot megabytes by part as two stacked bars, dense and exported.

    Args:
        parts: "name", "dense_bytes" and "bytes" of each.
    """
    bars = [("dense", "dense_bytes"), ("exported", "bytes")]
    longest = max(sum(part[key] for part in parts) for _, key in bars) / 1e6
    with mpl.rc_context(STYLE):
        figure, axes = _figure(1.7)
        for place, (_, key) in enumerate(bars):
            start = 0.0
            for part in parts:
                size, colour = part[key] / 1e6, PART_COLOURS[part["name"]]
                axes.barh(place, size, left=start, height=0.62, color=colour, label="" if place else part["name"])
                if size > _ROOM_FOR_A_NUMBER * longest:
                    # Dark text is readable on all three colours, in both schemes.
                    axes.text(start + size / 2, place, _megabytes(size), ha="center", va="center", color="#000000")
                start += size
        axes.set_yticks(range(len(bars)), [name for name, _ in bars])
        axes.invert_yaxis()
        axes.set_xlabel("MB of weights")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, handlelength=1.2, columnspacing=1.2)
        return svg(figure, "Megabytes of weights by part, dense against exported; the table has the numbers")


def _megabytes(size: float) -> str:
    return f"{size:.0f}" if size >= 10 else f"{size:.1f}" if size >= 1 else f"{size:.2f}"


def latency(cases: list[dict[str, Any]]) -> str:
    """Plot two bars for each measured case, dense and exported: p50 with a whisker to p90, in milliseconds.

    Args:
        cases: the cases of latency.json.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _figure(1.0 + 0.75 * len(cases))
        longest = max(case[role]["p90_ms"] for case in cases for role in ("baseline", "candidate"))
        for offset, role, colour, label in (
            (-0.1, "baseline", DENSE, "dense"),
            (0.18, "candidate", PRUNED, "exported"),
        ):
            for index, case in enumerate(cases):
                middle, upper, place = case[role]["p50_ms"], case[role]["p90_ms"], index + offset
                axes.barh(place, middle, height=0.26, color=colour, label="" if index else label)
                axes.errorbar(middle, place, xerr=[[0], [upper - middle]], fmt="none", ecolor=FOREGROUND, capsize=2)
                axes.text(upper + 0.02 * longest, place, f"{middle:.3g}", va="center")
        # A name above its bars can use the whole width.
        for index, case in enumerate(cases):
            threads = f"{case['threads']} thread{'s' * (case['threads'] > 1)}"
            axes.text(0, index - 0.36, f"{case['case']}, {threads}", va="center")
        axes.set_yticks([])
        axes.spines.left.set_visible(False)
        axes.set_ylim(len(cases) - 0.6, -0.6)
        axes.set_xlim(0, 1.14 * longest)
        axes.set_xlabel("ms for one call: p50, whisker to p90")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, handlelength=1.2)
        return svg(figure, "Milliseconds for one call, dense against exported; the table has the numbers")


# Name in the file, name in the legend, colour.
_Line = tuple[str, str, str]


def pruning_analysis(analysis: Mapping[str, Any]) -> list[str]:
    """Plot all measures in analysis.json; a vertical segment of a line is a mask update.

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
            # Between title and axes, where the legend covers no line.
            place: Any = {"loc": "lower left", "bbox_to_anchor": (-0.02, 0.98), "borderaxespad": 0.2}
            axes.legend(fontsize=9.5, ncols=3, handlelength=1.2, columnspacing=1.0, **place)
        return svg(figure, f"{title}, over the steps of pruning")


def _panels(analysis: Mapping[str, Any]) -> list[tuple[str, Callable[[Axes], None]]]:
    curve, teacher = analysis["curve"], analysis["teacher"]
    weights = [{"step": update["step"], **update["weights"]} for update in analysis["updates"]]

    def lines(records: Iterable[Mapping[str, Any]], *chosen: _Line, at_updates: bool = False) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            for key, label, colour in chosen:
                _trace(axes, records, key, label, colour, marker="o" if at_updates else None)

        return draw

    def with_teacher(key: str) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            _trace(axes, curve, key, "student", PRUNED)
            if teacher[key] is not None:
                axes.axhline(teacher[key], color=DENSE, linewidth=1, linestyle="--", label="teacher")

        return draw

    def fisher(axes: Axes) -> None:
        with_teacher("fisher")(axes)
        values = [look["fisher"] for look in (teacher, *curve) if look["fisher"]]
        # The separability of a fine-tuned network may be a hundred times that of a pruned one.
        if values and max(values) > 20 * min(values):
            axes.set_yscale("log")

    def ratios(axes: Axes) -> None:
        _trace(axes, curve, "output_snr_db", "representation", PRUNED)
        _trace(axes, weights, "snr_db", "weights, before each mask", ACCENT, marker="o")

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


def _trace(
    axes: Axes, records: Iterable[Mapping[str, Any]], key: str, label: str, colour: str, marker: str | None = None
) -> None:
    points = [(record["step"], record[key]) for record in records if record.get(key) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), color=colour, label=label, linewidth=1.3, marker=marker, markersize=2.5)

"""The report's pictures, as SVG text to be put into the page. Colours follow the page: light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdp.report.layer_table import short_name
from sdp.report.style import ACCENT, DENSE, FOREGROUND, PRUNED, STYLE, svg


def training_curve(logs: Sequence[tuple[str, list[dict[str, Any]]]], metric: str) -> str:
    """Loss, dev metric and sparsity over optimizer steps, one column for each training stage.

    Args:
        logs: (title, log) of each stage; a log record has "step" and one of "loss", "dev", "sparsity".
        metric: name of the dev metric.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 4.2))
        axes = figure.subplots(2, len(logs), sharex="col", sharey="row", squeeze=False)
        for column, (title, log) in enumerate(logs):
            upper: Axes = axes[0][column]
            lower: Axes = axes[1][column]
            upper.set_title(title)
            _line(upper, log, "loss", DENSE, "training loss")
            _line(lower, log, "dev", ACCENT, f"{metric} on dev", marker="o")
            _line(lower, log, "sparsity", PRUNED, "encoder zeros", drawstyle="steps-post")
            lower.set_xlabel("optimizer step")
            lower.set_ylim(0, 1.02)
            lower.legend(frameon=False, loc="lower right")
        axes[0][0].set_ylabel("training loss")
        return svg(figure)


def _line(axes: Axes, log: list[dict[str, Any]], key: str, colour: str, label: str, **style: Any) -> None:
    points = [(record["step"], record[key]) for record in log if key in record]
    if points:
        axes.plot(*zip(*points, strict=True), color=colour, label=label, markersize=3, linewidth=1.4, **style)


def sparsity_by_layer(layers: dict[str, dict[str, int]]) -> str:
    """A bar for each pruned weight matrix: its share of zeros, in the order of the model.

    Args:
        layers: parameter name -> "zeros" and "elements".
    """
    names = list(layers)
    shares = [layers[name]["zeros"] / layers[name]["elements"] for name in names]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 0.6 + 0.16 * len(names)))
        axes = figure.subplots()
        axes.barh(range(len(names)), shares, color=PRUNED, height=0.75)
        axes.set_yticks(range(len(names)), [short_name(name) for name in names], fontsize=6.5)
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_xlabel("share of zeros")
        return svg(figure)


def latency(cases: list[dict[str, Any]]) -> str:
    """Two bars for each measured case, dense and exported: p50, with a whisker to p90, in milliseconds.

    Args:
        cases: the cases of latency.json.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 0.9 + 0.55 * len(cases)))
        axes = figure.subplots()
        for offset, role, colour, label in ((-0.2, "baseline", DENSE, "dense"), (0.2, "candidate", PRUNED, "exported")):
            middle = [case[role]["p50_ms"] for case in cases]
            upper = [case[role]["p90_ms"] - case[role]["p50_ms"] for case in cases]
            places = [index + offset for index in range(len(cases))]
            axes.barh(places, middle, height=0.36, color=colour, label=label)
            axes.errorbar(middle, places, xerr=[[0.0] * len(cases), upper], fmt="none", ecolor=FOREGROUND, capsize=2)
        axes.set_yticks(range(len(cases)), [f"{case['case']}, {case['threads']} threads" for case in cases])
        axes.invert_yaxis()
        axes.set_xlabel("milliseconds for one call: p50, whisker to p90")
        axes.legend(frameon=False)
        return svg(figure)

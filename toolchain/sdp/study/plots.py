"""A study's plot: the metric against sparsity where that is varied, otherwise the arms as points with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdp.report.style import COLOURS, DENSE, MARKERS, PRUNED, STYLE, plain, svg_file
from sdp.statistics.seeds import mean_interval
from sdp.study.artifacts import Split, StudyArm, StudyTable
from sdp.study.vary import Axis

SPARSITY_KEY = "prune.sparsity"


def metric_plot(study: StudyTable, varied: Sequence[Axis]) -> str | None:
    """The plot as a self-contained SVG file; None before a cell is finished.

    Args:
        study: the table.
        varied: the axes of its grid.
    """
    if not study.splits:
        return None
    draw = _lines if _varies_sparsity(varied) else _points
    with mpl.rc_context(STYLE):
        height = 3.6 if draw is _lines else 1.2 + 0.3 * len(study.arms)
        figure = Figure(figsize=(4.6 * len(study.splits), height))
        axes = figure.subplots(1, len(study.splits), squeeze=False, sharey=True)
        for place, split in zip(axes[0], study.splits, strict=True):
            draw(place, study, split)
        return svg_file(figure, f"{study.metric} of the arms of a study")


def _varies_sparsity(axes: Sequence[Axis]) -> bool:
    """Whether the values of an axis are sparsities: they may also be arms with names of their own."""
    values = [value for axis in axes if axis.name == SPARSITY_KEY for value in axis.values]
    return bool(values) and all(value.overrides == (f"{SPARSITY_KEY}={value.label}",) for value in values)


def _lines(axes: Axes, study: StudyTable, split: Split) -> None:
    """One line for each combination of the other axes' values: mean over seeds, whiskers of one sd."""
    lines: dict[str, list[StudyArm]] = {}
    for arm in study.arms:
        name = ", ".join(label for axis, label in arm.arm.items() if axis != SPARSITY_KEY)
        if split in arm.splits:
            lines.setdefault(name or "pruned", []).append(arm)
    for index, (name, arms) in enumerate(lines.items()):
        points = sorted((float(arm.arm[SPARSITY_KEY]), arm.splits[split].pruned) for arm in arms)
        means = [summary.mean for _, summary in points]
        spread = [summary.sd or 0.0 for _, summary in points]
        axes.errorbar(
            [x for x, _ in points],
            means,
            yerr=spread,
            color=COLOURS[index % len(COLOURS)],
            marker=MARKERS[index % len(MARKERS)],
            label=plain(name),
            markersize=4,
            linewidth=1.4,
            capsize=2,
        )
    dense = [arm.splits[split].dense.mean for arms in lines.values() for arm in arms]
    if dense:
        axes.axhline(sum(dense) / len(dense), color=DENSE, linestyle="--", linewidth=1, label="dense")
    axes.set_xlabel("encoder sparsity")
    axes.set_ylabel(f"{study.metric} on {split}, mean ± sd")
    axes.legend(frameon=False, fontsize=7)


def _points(axes: Axes, study: StudyTable, split: Split) -> None:
    """One row for each arm: every seed as a dot, the mean with its 95 % t interval."""
    arms = [arm for arm in study.arms if split in arm.splits]
    for place, arm in enumerate(arms):
        values = list(arm.splits[split].values.values())
        axes.plot(values, [place] * len(values), ".", color=DENSE, markersize=4)
        mean, interval = arm.splits[split].pruned.mean, mean_interval(values)
        if interval is not None:
            axes.plot([interval.low, interval.high], [place, place], color=PRUNED, linewidth=1.4)
        axes.plot([mean], [place], "o", color=PRUNED, markersize=5)
    axes.set_yticks(range(len(arms)), [plain(", ".join(arm.labels)) or "the recipe" for arm in arms])
    axes.margins(y=0.2)
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
    axes.set_xlabel(f"{study.metric} on {split}: seeds, mean, 95 % interval")

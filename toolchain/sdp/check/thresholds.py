"""Findings on thresholds of [gate] that are certain to pass or fail, or that can never be decided."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, sqrt

from sdp.check.facts import Facts, Finding
from sdp.check.forecast import is_exact
from sdp.check.speed import may_be_faster
from sdp.recipe.benchmark_tasks import MetricName

# Share of rows that only one of the two models predicts correctly; the real share depends on task and sparsity.
ASSUMED_FLIPS = 0.10
# Quantile of the normal distribution for a 95 % interval.
_Z = 1.96
# Relative difference allowed between predicted and real file: the graph itself, biases, padding.
_SLACK = 0.02
_LOWEST: dict[MetricName, float] = {"matthews": -1.0, "pearson": -1.0, "spearman": -1.0}


def half_width(rows: int, flips: float = ASSUMED_FLIPS) -> float:
    """Return the half-width of the 95 % interval of a difference of accuracies, 1.96 sqrt(flips / rows).

    Each row adds +1, -1 or 0 to the difference; if both directions are equally frequent, the variance is their share.

    Args:
        rows: rows on which both models are scored.
        flips: share of rows that only one of the two models predicts correctly.
    """
    return _Z * sqrt(flips / rows)


def rows_needed(width: float, flips: float = ASSUMED_FLIPS) -> int:
    """Return the number of rows for which the half-width is at most `width`."""
    return ceil(flips * (_Z / width) ** 2)


def evaluated_split(facts: Facts) -> str:
    """Return the split of the gate's metric."""
    return facts.recipe.evaluate.split or ("test" if facts.rows.get("test") else "dev")


def threshold_findings(facts: Facts) -> Iterator[Finding]:
    """Yield findings on the gate."""
    gate = facts.recipe.gate
    if gate.default_applies:
        what = f"no threshold is on the metric: the default applies, a drop of at most {gate.metric_drop:g}"
        would = "your own: gate.max_metric_drop, gate.min_metric, gate.max_part_drop or gate.max_class_drop."
        yield Finding("note", "gate", what, would)
    yield from _size(facts)
    yield from _speedup(facts)
    yield from _metric(facts)
    yield from _rows(facts)


def _size(facts: Facts) -> Iterator[Finding]:
    most, ratio = facts.recipe.gate.max_size_ratio, facts.size_ratio
    if most is None or ratio is None or ratio <= most + _SLACK * ratio:
        return
    can = "cannot" if is_exact(facts.recipe.prune) else "can hardly"
    what = f"{can} be met: the predicted file is {ratio:.2f} of the dense one, and at most {most:g} is allowed"
    after = facts.bytes_after or {}
    largest = max(after, key=lambda part: after[part])
    share = after[largest] / sum(after.values())
    yield Finding(
        "warning",
        "gate.max_size_ratio",
        what,
        f"a threshold above {ratio:.2f}, or saving on {largest}, {share:.0%} of what is left.",
    )


def _speedup(facts: Facts) -> Iterator[Finding]:
    least = facts.recipe.gate.min_speedup
    if least is not None and least > 1 and not may_be_faster(facts):
        what = f"cannot be met: {least:g} is asked for, and with these settings nothing runs faster than the dense file"
        yield Finding("warning", "gate.min_speedup", what)


def _metric(facts: Facts) -> Iterator[Finding]:
    task, gate = facts.recipe.task, facts.recipe.gate
    lowest = _LOWEST.get(task.score, 0.0)
    if gate.min_metric is not None and gate.min_metric > 1:
        would = "a share, such as 0.85."
        yield Finding("warning", "gate.min_metric", f"cannot be met: {task.score} is at most 1", would)
    if gate.min_metric is not None and gate.min_metric <= lowest:
        yield Finding("warning", "gate.min_metric", f"checks nothing: {task.score} is never below {lowest:g}")
    if gate.min_dense_metric is not None and gate.min_dense_metric > 1:
        yield Finding("warning", "gate.min_dense_metric", f"cannot be met: {task.score} is at most 1", "a share.")
    if gate.max_metric_drop is not None and gate.max_metric_drop >= 1 - lowest:
        what = f"checks nothing: {task.score} cannot drop by more than {1 - lowest:g}"
        yield Finding("warning", "gate.max_metric_drop", what, "0.02 for two points.")


def _rows(facts: Facts) -> Iterator[Finding]:
    """Yield findings for accuracy, whose interval depends only on the number of rows and the share of flips."""
    task, most = facts.recipe.task, facts.recipe.gate.metric_drop
    split = evaluated_split(facts)
    rows = facts.rows.get(split)
    by_row = task.score == "accuracy" and task.problem_type == "classification"
    if most is None or rows is None or rows == 0 or not by_row or most >= 1:
        return
    width = half_width(rows)
    measured = (
        f"{split} has {rows:,} rows: if {ASSUMED_FLIPS:.0%} of them are right in one model alone, the drop is known to "
        f"about ±{width:.3f}"
    )
    if width >= most:
        needed = f"{rows_needed(most):,} rows or more, or " if most > 0 else ""
        what = f"{measured}, and even a model that lost nothing is not shown to have lost at most {most:g}"
        would = f"{needed}a threshold well above {width:.3f}."
        yield Finding("warning", "gate.max_metric_drop", f"can hardly pass: {what}", would)
    else:
        yield Finding(
            "note", "gate.max_metric_drop", f"{measured}: a measured drop of at most {most - width:.3f} passes"
        )

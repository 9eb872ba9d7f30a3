"""Sentences on a metrics.json: its split, its changes, and remarks on its validity."""

from __future__ import annotations

from sdp.gate.check import at_least
from sdp.pipeline.artifacts.comparison import Comparison, EvaluateMetrics, ExportMetrics, SplitComparison
from sdp_onnx.bench.interval import Interval, Undefined

StoredMetrics = EvaluateMetrics | ExportMetrics


def measured_on(metrics: Comparison) -> str:
    """Return the split of a metrics.json, and the parts over which its score is a mean."""
    return f"{metrics.split}, mean over {metrics.mean_over}" if metrics.mean_over else metrics.split


def better_than_constant(metrics: StoredMetrics) -> bool:
    """Whether a metrics.json shows the dense model to be better than one answer for all rows."""
    gain = metrics.constant.gain
    return isinstance(gain, Interval) and not at_least(0.0, gain.low)


def constant_sentence(metrics: StoredMetrics) -> str:
    """Compare the dense model with one answer for all rows in a sentence."""
    constant, metric = metrics.constant, metrics.metric
    gain, value, answer = constant.gain, constant.value, constant.answer
    if isinstance(gain, Undefined) or value is None:
        reason = f", because {gain.reason}" if isinstance(gain, Undefined) else ""
        return f"not comparable with {answer}: {metric} is undefined{reason}"
    shown = "better" if better_than_constant(metrics) else "not shown to be better"
    against = f"{metric} {value + gain.value:.3f} against {value:.3f}"
    return f"{shown} than {answer}: {against}, difference {gain.value:.3f} [{gain.low:.3f}, {gain.high:.3f}]"


def remarks(metrics: StoredMetrics) -> list[str]:
    """Return remarks on the validity of a metrics.json: undefined scores, a dense model that learned nothing."""
    metric, split = metrics.metric, measured_on(metrics)
    reasons: dict[str, list[str]] = {}
    for name, score in metrics.models.items():
        if isinstance(score, Undefined):
            reasons.setdefault(score.reason, []).append(name)
    lines = [f"{metric} on {split} is undefined ({', '.join(names)}): {reason}" for reason, names in reasons.items()]
    if isinstance(metrics.constant.gain, Interval) and not better_than_constant(metrics):
        lines.append(f"the dense model on {split} is {constant_sentence(metrics)}")
    missing = metrics.classes_without_rows
    if metric == "macro-f1" and missing:
        lines.append(f"macro-f1 is the mean over {len(metrics.classes)} classes; no row is of {', '.join(missing)}")
    return lines


def changed_sentence(metrics: SplitComparison) -> str:
    """Return the number of changed predictions and the class with the largest loss; empty without classes."""
    if metrics.flips is None:
        return ""
    changed = f"{metrics.flips:,} of {metrics.predictions:,} predictions changed"
    drops = [(own.f1.drop.value, own) for own in metrics.classes if isinstance(own.f1.drop, Interval)]
    if not drops:
        return changed
    largest, worst = max(drops, key=lambda found: found[0])
    if at_least(0.0, largest):
        return f"{changed}; F1 fell in no class"
    first, second = (score.value for score in worst.f1.models.values() if isinstance(score, Interval))
    return f'{changed}; "{worst.name}" lost most: F1 {first:.3f} -> {second:.3f}'

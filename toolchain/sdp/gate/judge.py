"""Judge the measured results by every threshold of a recipe, with pure functions.

A value passes if its interval lies on the good side of the threshold, and fails if it lies on the bad side. A threshold
inside the interval is inconclusive: more rows, more measurements or a quieter machine would decide it. A threshold on
an undefined metric is inconclusive too, and every verdict on a model whose dense original is not better than one
answer for all rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from sdp.gate.check import Check, Outcome, judge_bound
from sdp.gate.measured import better_than_constant, constant_sentence, measured_on
from sdp.gate.timing import judge_timing, timings_of
from sdp.pipeline.artifacts.comparison import ExportMetrics
from sdp.pipeline.artifacts.latency import BenchLatency, MeasuredAgain
from sdp.recipe.gate import GateSection
from sdp_onnx.bench.interval import Interval, Undefined

Judge = Callable[[Sequence[MeasuredAgain]], list[Check]]
"""Gives the checks of one benchmark, with what was measured again."""


def judge(
    settings: GateSection,
    exported: ExportMetrics,
    bench: BenchLatency,
    more: Sequence[MeasuredAgain] = (),
    looks: int = 1,
) -> list[Check]:
    """Judge every threshold of a recipe.

    Args:
        settings: the recipe's [gate].
        exported: 4-export/metrics.json, the exported file's own score against the dense model.
        bench: 5-bench/latency.json.
        more: what was measured again.
        looks: how many looks at timings the verdict may take (see `gate.timing`).

    Returns:
        one check for each threshold that is set (with the default one where none is on the metric); of every part for
        the drop by part, of every cell for what was timed, of classes those that do not pass, or the worst; and one
        where the dense model is not shown to be better than one answer for all rows.
    """
    return [
        *judge_dense(settings, exported),
        *_judge_metric(settings, exported),
        *_judge_classes(settings, exported),
        *_judge_agreement(settings, exported),
        *_judge_size(settings, bench),
        *judge_timing(settings, timings_of(bench, more), looks),
    ]


def _judge_metric(settings: GateSection, exported: ExportMetrics) -> list[Check]:
    checks = []
    metric, split = exported.metric, measured_on(exported)
    if settings.min_metric is not None:
        value = exported.models["exported"]
        checks.append(
            judge_bound("min_metric", "min", settings.min_metric, value, f"{metric} of the exported file on {split}")
        )
    if settings.metric_drop is not None:
        subject = f"drop of {metric} on {split}, exported file against dense model"
        subject += " (default threshold)" if settings.default_applies else ""
        checks.append(judge_bound("max_metric_drop", "max", settings.metric_drop, exported.drop, subject))
    if settings.max_part_drop is not None:
        drops = part_drops(exported)
        for name, drop in drops.items():
            part = f"{exported.part} {name} of {exported.split}" if name else split
            subject = f"drop of {metric} on {part}{_rank(drop, drops)}"
            checks.append(judge_bound("max_part_drop", "max", settings.max_part_drop, drop, subject))
    return checks


def _judge_classes(settings: GateSection, exported: ExportMetrics) -> list[Check]:
    """Return the checks of all classes that do not pass, or of the class with the largest loss if all pass."""
    if settings.max_class_drop is None:
        return []
    threshold, split = settings.max_class_drop, exported.split
    drops = class_drops(exported)
    checks = []
    for name, drop in drops.items():
        subject = f'drop of F1 of "{name}" on {split}{_rank(drop, drops)}'
        checks.append(judge_bound("max_class_drop", "max", threshold, drop, subject))
    open_or_failed = [check for check in checks if check.outcome != "pass"]
    return open_or_failed or checks[:1]


def class_drops(exported: ExportMetrics) -> dict[str, Interval | Undefined]:
    """Return the drop in F1 of every class, as `part_drops` does for parts: undefined ones first, then the worst."""
    drops = {own.name: own.f1.drop_of_all for own in exported.classes}
    missing = Undefined(f"no row of {exported.split} has this label")
    drops |= dict.fromkeys(exported.classes_without_rows, missing)
    return _worst_first(drops)


def _rank(drop: Interval | Undefined, drops: Mapping[str, Interval | Undefined]) -> str:
    """Return a remark if a drop is the worst of several."""
    first = next((own for own in drops.values() if isinstance(own, Interval)), None)
    return f" (the worst of {len(drops)})" if drop is first and len(drops) > 1 else ""


def _worst_first(drops: Mapping[str, Interval | Undefined]) -> dict[str, Interval | Undefined]:
    """Sort drops: undefined ones, then the others from the largest down."""
    return dict(sorted(drops.items(), key=lambda item: -item[1].value if isinstance(item[1], Interval) else -math.inf))


def part_drops(exported: ExportMetrics) -> dict[str, Interval | Undefined]:
    """Return the drop of every part with an interval whose low end holds for all parts at once, the worst part first.

    Data without parts is one part without a name. The largest of K drops has the interval from the
    largest low end to the largest high end: with the low ends joint, one of them is too high in 2.5 % of splits; and
    the largest drop lies above every high end only if it lies above its own, again in 2.5 %.
    """
    if not exported.parts:
        return {"": exported.drop}
    return _worst_first({name: part.drop_of_all for name, part in exported.parts.items()})


def _judge_agreement(settings: GateSection, exported: ExportMetrics) -> list[Check]:
    checks = []
    torch = exported.torch
    if settings.min_same_predictions is not None:
        share = _same_predictions(exported)
        subject = f"share of predictions on {exported.split} that are torch's"
        checks.append(judge_bound("min_same_predictions", "min", settings.min_same_predictions, share, subject))
    if settings.max_relative_error is not None:
        largest = max(torch.max_relative_error, torch.split_relative_error)
        subject = "largest difference to torch, relative to the largest logit,"
        checks.append(
            judge_bound("max_relative_error", "max", settings.max_relative_error, Interval.exact(largest), subject)
        )
    return checks


def _same_predictions(exported: ExportMetrics) -> Interval | Undefined:
    """The share of predictions that are torch's."""
    from sdp.statistics.intervals import wilson

    if exported.torch.same_predictions is None:
        return Undefined(f"{exported.metric} is of numbers, which are no classes to be the same")
    # The words of a sentence are wrong together: as many cases as there are sentences.
    return wilson(exported.torch.same_predictions, exported.rows)


def _judge_size(settings: GateSection, bench: BenchLatency) -> list[Check]:
    checks = []
    if settings.max_size_ratio is not None:
        ratio = Interval.exact(bench.candidate_bytes / bench.baseline_bytes)
        checks.append(
            judge_bound("max_size_ratio", "max", settings.max_size_ratio, ratio, "size against the dense file")
        )
    if settings.max_size_mb is not None:
        megabytes = Interval.exact(bench.candidate_bytes / 1e6)
        checks.append(judge_bound("max_size_mb", "max", settings.max_size_mb, megabytes, "size of the file in MB"))
    return checks


def verdict(checks: Sequence[Check]) -> Outcome:
    """Return fail if any check fails, else inconclusive if any check is or there is none, else pass."""
    outcomes = {check.outcome for check in checks}
    return "fail" if "fail" in outcomes else "pass" if outcomes == {"pass"} else "inconclusive"


def judge_dense(settings: GateSection, exported: ExportMetrics) -> list[Check]:
    """Judge the dense model by its lowest metric, and against one answer for all rows.

    Args:
        settings: the recipe's [gate].
        exported: 4-export/metrics.json.
    """
    checks = []
    metric, split = exported.metric, measured_on(exported)
    if settings.min_dense_metric is not None:
        dense, subject = exported.models["dense"], f"{metric} of the dense model on {split}"
        checks.append(judge_bound("min_dense_metric", "min", settings.min_dense_metric, dense, subject))
    if not settings.allow_constant_dense and not better_than_constant(exported):
        gain = exported.constant.gain
        value, low, high = (gain.value, gain.low, gain.high) if isinstance(gain, Interval) else (None, None, None)
        checks.append(
            Check(
                name="allow_constant_dense",
                outcome="inconclusive",
                threshold=None,
                value=value,
                low=low,
                high=high,
                subject=f"dense model on {split}",
                bound="min",
                reason=constant_sentence(exported),
            )
        )
    return checks

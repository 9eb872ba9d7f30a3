"""Every threshold of a recipe against what the stages measured, as pure functions on their JSON.

A value whose interval lies on the good side of its threshold passes, on the bad side fails; a threshold inside the
interval is inconclusive: more rows, more measurements or a quieter machine would tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sdp.gate.check import Check, Outcome, judge_bound
from sdp.gate.timing import judge_timing
from sdp.recipe.gate import GateSection


def judge(settings: GateSection, exported: dict[str, Any], bench: dict[str, Any], looks: int = 1) -> list[Check]:
    """Judge every threshold of a recipe.

    Args:
        settings: the recipe's [gate].
        exported: 4-export/metrics.json, the exported file's own score against the dense model.
        bench: 5-bench/latency.json.
        looks: how many looks at timings the verdict may take (see `gate.timing`).

    Returns:
        one check for each threshold that is set; of every part for the drop by part, of every cell for what was timed.
    """
    return [
        *_judge_metric(settings, exported),
        *_judge_agreement(settings, exported),
        *_judge_size(settings, bench),
        *judge_timing(settings, bench, looks),
    ]


def _judge_metric(settings: GateSection, exported: Mapping[str, Any]) -> list[Check]:
    checks = []
    metric, split = exported["metric"], measured_on(exported)
    if settings.min_metric is not None:
        value = exported["models"]["exported"]
        checks.append(
            judge_bound("min_metric", "min", settings.min_metric, value, f"{metric} of the exported file on {split}")
        )
    if settings.max_metric_drop is not None:
        subject = f"drop of {metric} on {split}, exported file against dense model"
        checks.append(judge_bound("max_metric_drop", "max", settings.max_metric_drop, exported["drop"], subject))
    if settings.max_part_drop is not None:
        drops = part_drops(exported)
        for rank, (name, drop) in enumerate(drops.items()):
            part = f"{exported['part']} {name} of {exported['split']}" if name else split
            worst = f" (the worst of {len(drops)})" if rank == 0 and len(drops) > 1 else ""
            subject = f"drop of {metric} on {part}{worst}"
            checks.append(judge_bound("max_part_drop", "max", settings.max_part_drop, drop, subject))
    return checks


def part_drops(exported: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The drop of every part with an interval whose low end holds for all parts at once, the worst part first.

    Where the data has no parts, all of it is one without a name. The largest of K drops has the interval from the
    largest low end to the largest high end: with the low ends joint, one of them is too high in 2.5 % of splits; and
    the largest drop lies above every high end only if it lies above its own, again in 2.5 %.
    """
    if not exported["parts"]:
        return {"": exported["drop"]}
    drops = {name: part["drop_of_all"] for name, part in exported["parts"].items()}
    return dict(sorted(drops.items(), key=lambda item: -item[1]["value"]))


def _judge_agreement(settings: GateSection, exported: Mapping[str, Any]) -> list[Check]:
    checks = []
    torch = exported.get("torch", {})
    if settings.min_same_predictions is not None:
        from sdp.evaluation.statistics import wilson

        # The words of a sentence are wrong together: as many cases as there are sentences.
        share = wilson(torch["same_predictions"], exported["rows"]).to_json()
        subject = f"share of predictions on {exported['split']} that are torch's"
        checks.append(judge_bound("min_same_predictions", "min", settings.min_same_predictions, share, subject))
    if settings.max_relative_error is not None:
        largest = max(torch["max_relative_error"], torch["split_relative_error"])
        subject = "largest difference to torch, relative to the largest logit,"
        checks.append(judge_bound("max_relative_error", "max", settings.max_relative_error, _exact(largest), subject))
    return checks


def _judge_size(settings: GateSection, bench: Mapping[str, Any]) -> list[Check]:
    checks = []
    if settings.max_size_ratio is not None:
        ratio = _exact(bench["candidate_bytes"] / bench["baseline_bytes"])
        checks.append(
            judge_bound("max_size_ratio", "max", settings.max_size_ratio, ratio, "size against the dense file")
        )
    if settings.max_size_mb is not None:
        megabytes = _exact(bench["candidate_bytes"] / 1e6)
        checks.append(judge_bound("max_size_mb", "max", settings.max_size_mb, megabytes, "size of the file in MB"))
    return checks


def _exact(value: float) -> dict[str, float]:
    return {"value": value, "low": value, "high": value}


def measured_on(record: Mapping[str, Any]) -> str:
    """The split that a metrics.json is about, in words, and what its score is the mean over, if anything."""
    return f"{record['split']}, mean over {record['mean_over']}" if record["mean_over"] else str(record["split"])


def verdict(checks: Sequence[Check]) -> Outcome:
    """fail if any check fails, else inconclusive if any is, else pass."""
    outcomes = {check.outcome for check in checks}
    return "fail" if "fail" in outcomes else "inconclusive" if "inconclusive" in outcomes else "pass"

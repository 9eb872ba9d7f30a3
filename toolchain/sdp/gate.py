"""The gate: thresholds against measured values with their intervals, as pure functions on the stages' JSON.

A value whose interval lies on the good side of its threshold passes, on the bad side fails; a threshold inside the
interval is inconclusive: more rows or a quieter machine would tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree

from sdp.recipe.sections import GateSection

Outcome = Literal["pass", "fail", "inconclusive"]
EXIT_CODES: dict[Outcome, int] = {"pass": 0, "fail": 1, "inconclusive": 3}


@dataclass(frozen=True)
class Check:
    """One threshold and what was measured against it.

    Attributes:
        name: the key in [gate].
        outcome: pass, fail or inconclusive.
        threshold: from the recipe.
        value: measured.
        low, high: 95 % interval of the value; both equal to it where it is exact.
        subject: what was measured, in words.
        bound: whether the value must be at least ("min") or at most ("max") the threshold.
    """

    name: str
    outcome: Outcome
    threshold: float
    value: float
    low: float
    high: float
    subject: str
    bound: Literal["min", "max"]

    def sentence(self) -> str:
        """The check in words."""
        limit = "at least" if self.bound == "min" else "at most"
        spread = f" [{self.low:.4g}, {self.high:.4g}]" if self.low != self.high else ""
        return f"{self.subject} is {self.value:.4g}{spread}, must be {limit} {self.threshold:g}"


def judge_bound(
    name: str, bound: Literal["min", "max"], threshold: float, estimate: dict[str, float], subject: str
) -> Check:
    """Judge one value.

    Args:
        name: the key in [gate].
        bound: "min" or "max".
        threshold: the recipe's.
        estimate: "value", "low" and "high".
        subject: what was measured, in words.
    """
    low, high = estimate["low"], estimate["high"]
    if bound == "min":
        outcome: Outcome = "pass" if low >= threshold else "fail" if high < threshold else "inconclusive"
    else:
        outcome = "pass" if high <= threshold else "fail" if low > threshold else "inconclusive"
    return Check(name, outcome, threshold, estimate["value"], low, high, subject, bound)


def judge(settings: GateSection, exported: dict[str, Any], bench: dict[str, Any]) -> list[Check]:
    """Judge every threshold of a recipe.

    Args:
        settings: the recipe's [gate].
        exported: 4-export/metrics.json, the exported file's own score against the dense model.
        bench: 5-bench/latency.json.

    Returns:
        one check for each threshold that is set; for the speed-up one for each case of the benchmark.
    """
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
    if settings.max_size_ratio is not None:
        ratio = bench["candidate_bytes"] / bench["baseline_bytes"]
        exact = {"value": ratio, "low": ratio, "high": ratio}
        checks.append(
            judge_bound("max_size_ratio", "max", settings.max_size_ratio, exact, "size against the dense file")
        )
    if settings.min_speedup is not None:
        for case in bench["cases"]:
            subject = f"speed-up at {case['case']}, {case['threads']} threads"
            checks.append(judge_bound("min_speedup", "min", settings.min_speedup, case["speedup"], subject))
    return checks


def measured_on(record: dict[str, Any]) -> str:
    """The split that a metrics.json is about, in words, and what its score is the mean over, if anything."""
    return f"{record['split']}, mean over {record['mean_over']}" if record["mean_over"] else str(record["split"])


def verdict(checks: Sequence[Check]) -> Outcome:
    """fail if any check fails, else inconclusive if any is, else pass."""
    outcomes = {check.outcome for check in checks}
    return "fail" if "fail" in outcomes else "inconclusive" if "inconclusive" in outcomes else "pass"


def junit(checks: Sequence[Check], suite: str) -> str:
    """The checks as JUnit XML: a failure for each that fails, an error for each that is inconclusive."""
    counts = {outcome: sum(check.outcome == outcome for check in checks) for outcome in EXIT_CODES}
    root = ElementTree.Element("testsuites")
    element = ElementTree.SubElement(
        root,
        "testsuite",
        name=f"sdp gate: {suite}",
        tests=str(len(checks)),
        failures=str(counts["fail"]),
        errors=str(counts["inconclusive"]),
    )
    for check in checks:
        case = ElementTree.SubElement(element, "testcase", classname=f"gate.{check.name}", name=check.subject)
        if check.outcome == "fail":
            ElementTree.SubElement(case, "failure", message=check.sentence())
        elif check.outcome == "inconclusive":
            ElementTree.SubElement(case, "error", message=f"inconclusive: {check.sentence()}")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def markdown(checks: Sequence[Check], suite: str) -> str:
    """The checks as a Markdown table, for a pull request or a CI job's summary."""
    lines = [f"### sdp gate: {suite}: **{verdict(checks)}**", "", "| check | outcome | measured |", "|---|---|---|"]
    lines += [f"| {check.name} | {check.outcome} | {check.sentence()} |" for check in checks]
    return "\n".join([*lines, ""]) if checks else f"### sdp gate: {suite}: **pass** (no thresholds are set)\n"

"""analysis.json: the records of a run, put in order and summed up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from sdp.pipeline.artifacts.analysis import AnalysisReport
from sdp.pruning.analysis.measures import Measures

EVENTS: tuple[Event, ...] = ("before", "after", "between")


def analysis_report(
    log: Sequence[Mapping[str, Any]], teacher: Measures, *, metric: str, rows: int, representation: str
) -> AnalysisReport:
    """Put the analysis of a run together.

    Args:
        log: the trainer's log: records with "sparsity" at mask updates, records with "analysis" from the recorder.
        teacher: the teacher's own numbers.
        metric: name of the metric.
        rows: how many dev rows were looked at.
        representation: what stands for a row.

    Returns:
        what was looked at; "updates", one for each mask update; "curve", every look in the order of time; "recovery",
        the updates' recoveries in sum; "final", the last look; "seconds", what all of it took.
    """
    records = [(int(record["step"]), record["analysis"]) for record in log if "analysis" in record]
    sparsity = {record["step"]: record for record in log if "sparsity" in record}
    curve = [
        {"step": step, "event": event, **record[event]}
        for step, record in records
        for event in EVENTS
        if event in record
    ]
    # An undefined metric neither falls nor comes back.
    known = all(look["metric"] is not None for look in curve)
    points = [Point(look["step"], look["metric"], look["event"]) for look in curve if known]
    found = recoveries(points)
    recovered = {one.step: one for one in found}
    updates = tuple(
        {
            "step": step,
            "wanted": sparsity[step]["wanted"],
            "sparsity": sparsity[step]["sparsity"],
            **{name: record[name] for name in ("weights", "before", "after")},
            "recovery": {
                name: getattr(recovered[step], name) if step in recovered else None
                for name in ("steps_to_regain", "area", "steps")
            },
        }
        for step, record in records
        if "after" in record
    )
    content = {
        "metric": metric,
        "rows": rows,
        "representation": representation,
        "teacher": teacher,
        "updates": updates,
        "curve": tuple(curve),
        "recovery": summarize(found),
        "final": {name: value for name, value in curve[-1].items() if name != "event"} if curve else None,
        "seconds": round(sum(record["seconds"] for _, record in records), 3),
    }
    return AnalysisReport.model_validate(content)


Event = Literal["before", "after", "between"]
REGAINED = 0.01


@dataclass(frozen=True)
class Point:
    """The metric at an optimizer step: just before a mask update, just after one, or at any other time."""

    step: int
    metric: float
    event: Event


@dataclass(frozen=True)
class Recovery:
    """The effect of one mask update on the metric.

    Attributes:
        step: the optimizer step of the update.
        before: metric just before it.
        after: metric just after it.
        steps_to_regain: optimizer steps until the metric was seen within 1 % of what it was before; 0 where the update
            itself cost less, None where that was not seen before the next update.
        area: mean of the metric from the update to the last point before the next one (area under the curve by the
            trapezoid rule, divided by the steps it spans); None where it spans none.
        steps: how many steps that is.
    """

    step: int
    before: float
    after: float
    steps_to_regain: int | None
    area: float | None
    steps: int


def recoveries(points: Sequence[Point]) -> list[Recovery]:
    """Read off the curve what each mask update did.

    Args:
        points: in the order of time; every update has a point "before" and one "after" at its step.
    """
    updates = [place for place, point in enumerate(points) if point.event == "after"]
    found = []
    for place, following in pairwise([*updates, len(points)]):
        before = points[place - 1].metric
        # The point just before the next update still belongs to this one.
        curve = points[place:following]
        threshold = before - REGAINED * abs(before)
        regained = (point.step - curve[0].step for point in curve if point.metric >= threshold)
        steps = curve[-1].step - curve[0].step
        area = np.trapezoid([point.metric for point in curve], [point.step for point in curve]) if steps else None
        found.append(
            Recovery(
                step=curve[0].step,
                before=before,
                after=curve[0].metric,
                steps_to_regain=next(regained, None),
                area=None if area is None else float(area / steps),
                steps=steps,
            )
        )
    return found


def summarize(found: Sequence[Recovery]) -> dict[str, float | int | None]:
    """The recoveries of a run in a few numbers.

    Returns:
        "updates"; "regained", how many of them were made good before the next; "mean_steps_to_regain" over those, None
        without any; "mean_drop" of the metric at an update; "area", the mean metric from the first update to the end,
        None where there is nothing between updates.
    """
    regained = [one.steps_to_regain for one in found if one.steps_to_regain is not None]
    spans = [(one.area, one.steps) for one in found if one.area is not None]
    return {
        "updates": len(found),
        "regained": len(regained),
        "mean_steps_to_regain": float(np.mean(regained)) if regained else None,
        "mean_drop": float(np.mean([one.before - one.after for one in found])) if found else None,
        "area": sum(area * steps for area, steps in spans) / sum(steps for _, steps in spans) if spans else None,
    }

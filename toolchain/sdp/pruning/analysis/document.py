"""analysis.json: the records of a run, put in order and summed up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sdp.pipeline.artifacts.analysis import AnalysisReport
from sdp.pruning.analysis.measures import Measures
from sdp.pruning.analysis.recovery import Event, Point, recoveries, summarize

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

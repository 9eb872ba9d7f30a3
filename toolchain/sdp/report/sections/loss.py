"""The section on losses by other metrics, languages or subsets, and classes or tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sdp.report import plots
from sdp.report.section import RunFiles, Section

# More rows than these are collapsed; the largest losses come first.
CLASSES_SHOWN = 12
_MOST_IN_A_PICTURE = 30


def section(files: RunFiles) -> Section | None:
    """Compare the exported file with the dense model part by part; None without parts or classes."""
    export = files.json("4-export/metrics.json")
    classes = sorted(export["classes"], key=lambda record: -(record["f1"]["drop"]["value"] or 0.0))
    if not (export["also"] or export["parts"] or classes):
        return None
    metric = export["metric"]
    values = {
        "export": export,
        "trained": files.recipe.task.train_languages,
        "classes": classes,
        "tags": files.recipe.task.problem_type == "tagging",
        "shown": CLASSES_SHOWN,
        "parts_picture": _picture(list(export["parts"].items()), metric) if export["parts"] else None,
        "classes_picture": _picture([(r["class"], r["f1"]) for r in classes[:CLASSES_SHOWN]], "F1")
        if classes
        else None,
    }
    return Section("What was lost, and where", "sections/loss.html", values)


def _picture(records: Sequence[tuple[str, Any]], what: str) -> str | None:
    rows = [(name, record["drop"]) for name, record in records]
    changed = any(drop["low"] != 0 or drop["high"] != 0 for _, drop in rows)
    return plots.losses(rows, what) if changed and 1 < len(rows) <= _MOST_IN_A_PICTURE else None

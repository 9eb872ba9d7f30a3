"""The section on losses by other metrics, languages or subsets, and classes or tags."""

from __future__ import annotations

from collections.abc import Sequence

from sdp.pipeline.artifacts.comparison import ExportMetrics
from sdp.pipeline.artifacts.intervals import value_of
from sdp.report import plots
from sdp.report.section import ReportSection, RunFiles
from sdp_onnx.bench.interval import Interval, Undefined

# More rows than these are collapsed; the largest losses come first.
CLASSES_SHOWN = 12
_MOST_IN_A_PICTURE = 30


def section(files: RunFiles) -> ReportSection | None:
    """Compare the exported file with the dense model part by part; None without parts or classes."""
    export = ExportMetrics.load(files.run)
    classes = sorted(export.classes, key=lambda own: -(value_of(own.f1.drop) or 0.0))
    if not (export.also or export.parts or classes):
        return None
    values = {
        "export": export,
        "trained": files.recipe.task.train_languages,
        "classes": classes,
        "tags": files.recipe.task.problem_type == "tagging",
        "shown": CLASSES_SHOWN,
        "parts_picture": _picture([(name, part.drop) for name, part in export.parts.items()], export.metric),
        "classes_picture": _picture([(own.name, own.f1.drop) for own in classes[:CLASSES_SHOWN]], "F1"),
    }
    return ReportSection("What was lost, and where", "sections/loss.html", values)


def _picture(rows: Sequence[tuple[str, Interval | Undefined]], what: str) -> str | None:
    changed = any(isinstance(drop, Undefined) or drop.low != 0 or drop.high != 0 for _, drop in rows)
    return plots.losses(rows, what) if changed and 1 < len(rows) <= _MOST_IN_A_PICTURE else None

"""The section of the training curves."""

from __future__ import annotations

from sdp.report import plots
from sdp.report.section import RunFiles, Section

_STAGES = (("Fine-tuning", "1-finetune/metrics.json"), ("Pruning", "2-prune/metrics.json"))


def section(files: RunFiles) -> Section:
    """Loss and dev metric of both stages."""
    pictures = []
    for title, file in _STAGES:
        record = files.json(file)
        pictures += plots.training_curves(title, record["log"], record["metric"])
    rows = files.json("1-finetune/metrics.json")["rows"]
    return Section("Training", "sections/training.html", {"curves": pictures, "rows": rows})

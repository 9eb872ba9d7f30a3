"""The section of the training curves."""

from __future__ import annotations

from sdp.report import plots
from sdp.report.section import RunFiles, Section

_STAGES = (("Fine-tuning", "1-finetune/metrics.json"), ("Pruning", "2-prune/metrics.json"))


def section(files: RunFiles) -> Section:
    """Return the curves of loss and dev metric of both stages."""
    pictures = []
    finetune = files.json("1-finetune/metrics.json")
    for title, file in _STAGES:
        record = files.json(file)
        # With finetune.epochs = 0 there is no log.
        if record["log"]:
            pictures += plots.training_curves(title, record["log"], record["metric"])
    content = {"curves": pictures, "rows": finetune["rows"], "untrained": not finetune["log"]}
    return Section("Training", "sections/training.html", content)

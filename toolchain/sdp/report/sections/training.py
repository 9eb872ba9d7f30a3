"""The section of the training curves."""

from __future__ import annotations

from sdp.pipeline.artifacts.pruning import PruneMetrics
from sdp.pipeline.artifacts.training import FinetuneMetrics
from sdp.report import plots
from sdp.report.section import ReportSection, RunFiles


def section(files: RunFiles) -> ReportSection:
    """Return the curves of loss and dev metric of both stages."""
    pictures = []
    finetune, prune = FinetuneMetrics.load(files.run), PruneMetrics.load(files.run)
    for title, log in (("Fine-tuning", finetune.log), ("Pruning", prune.log)):
        # With finetune.epochs = 0 there is no log.
        if log:
            pictures += plots.training_curves(title, log, finetune.metric)
    content = {
        "curves": pictures,
        "rows": finetune.rows.to_json(),
        "untrained": not finetune.log,
        "teacher": prune.teacher,
        "metric": finetune.metric,
    }
    return ReportSection("Training", "sections/training.html", content)

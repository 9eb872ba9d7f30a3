"""The log of a training run, and metrics.json of fine-tuning."""

from __future__ import annotations

from sdp.pipeline.artifacts.base import Artifact, LoggedNumber, NotNegative, Stored
from sdp.recipe.benchmark_tasks import MetricName

LogRecord = dict[str, LoggedNumber]
"""What one event of training left: "step" and "epoch" with "loss" and its terms, with "dev", or with "sparsity"."""


class RowCounts(Stored):
    """Rows of each split."""

    train: NotNegative
    dev: NotNegative
    test: NotNegative


class FinetuneMetrics(Artifact):
    """The dense model on dev (`undefined`: why it has no score), and how it was trained."""

    STAGE = "finetune"
    FILE = "metrics.json"

    metric: MetricName
    dev: float | None
    undefined: str
    rows: RowCounts
    log: tuple[LogRecord, ...]

"""metrics.json and pruning.jsonl of the pruning stage."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from sdp.pipeline.artifacts.analysis import AnalysisSummary
from sdp.pipeline.artifacts.base import Artifact, Count, NotNegative, Share, Stored
from sdp.pipeline.artifacts.training import LogRecord
from sdp.recipe.benchmark_tasks import MetricName

UPDATES_FILE = "pruning.jsonl"


class LayerZeros(Stored):
    """How many of a matrix's weights are zeros."""

    zeros: NotNegative
    elements: NotNegative


class TeacherMetrics(Stored):
    """Another network that pruning learned from (`prune.teacher`): its metric on dev, or why it is undefined, and the
    fine-tuned network's."""

    name: str
    dev: float | None
    undefined: str
    dense: float | None


class KeptLayers(Stored):
    """How many of the dense network's layers the pruned one has (`prune.layers`)."""

    kept: Count
    dense: Count


class PruneMetrics(Artifact):
    """The pruned model on dev, its zeros by parameter, and how it was trained.

    After a quantization-aware phase `dev` is of the network that computes in int8, and `dev_in_float` of the same
    weights without rounding.
    """

    STAGE = "prune"
    FILE = "metrics.json"

    metric: MetricName
    dev: float | None
    dev_in_float: float | None = None
    undefined: str
    sparsity: Share
    kept_layers: KeptLayers | None = None
    teacher: TeacherMetrics | None = None
    analysis: AnalysisSummary | None = None
    layers: dict[str, LayerZeros]
    log: tuple[LogRecord, ...]

    @property
    def removes(self) -> bool:
        """Whether heads, neurons or layers are gone: `sparsity` is then above the share of zeros in what is left."""
        zeros = sum(own.zeros for own in self.layers.values())
        elements = sum(own.elements for own in self.layers.values())
        return self.sparsity > zeros / max(1, elements) + 1e-6


class MaskUpdate(Stored):
    """A line of pruning.jsonl: the sparsity that was wanted at a step, and that of the masks."""

    step: NotNegative
    epoch: float
    wanted: float
    sparsity: Share


def write_updates(updates: Iterable[MaskUpdate], folder: Path) -> None:
    """Write pruning.jsonl, one line a mask update."""
    with (folder / UPDATES_FILE).open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(update.to_json()) + "\n" for update in updates)

"""The recipe's [gate]: the thresholds that a model must reach to ship."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from sdp.recipe.base import Section

DEFAULT_METRIC_DROP = 0.02


class GateSection(Section):
    """What a model must reach to ship. A threshold that is left out is not checked, except that without any on the
    metric `max_metric_drop` is 0.02. Every threshold is judged with its interval, and one that lies inside it is
    inconclusive, as is one on a metric that is undefined on the evaluation split. Values that differ by less than a
    billionth are equal."""

    filled_in: ClassVar[Mapping[str, str]] = {"max_metric_drop": "metric_drop"}

    min_metric: float | None = None
    """Lowest metric of the exported file on the evaluation split."""
    max_metric_drop: float | None = Field(default=None, ge=0)
    """Largest loss of the metric against the dense model (0.02 = two points of accuracy). Not set, it is 0.02, unless
    `min_metric`, `max_part_drop` or `max_class_drop` is set."""
    max_part_drop: float | None = Field(default=None, ge=0)
    """The same for every language or subset by itself, so for the worst; where the data has none, for all of it."""
    max_class_drop: float | None = Field(default=None, ge=0)
    """Largest loss of F1 of every class (or tag) by itself, so for the worst, on all rows together. A class without
    rows in the evaluation split leaves it inconclusive."""
    min_dense_metric: float | None = None
    """Lowest metric of the dense model, of the same rows: little is lost by pruning what never worked."""
    allow_constant_dense: bool = False
    """Let a dense model pass that is not shown to be better than always giving one answer (the most frequent class, the
    positive one for f1, "O", or equal scores). Otherwise the gate is inconclusive then: what such a model loses by
    pruning has no meaning."""
    max_size_ratio: float | None = Field(default=None, gt=0)
    """Largest size of the exported file, as a share of the dense ONNX file."""
    max_size_mb: float | None = Field(default=None, gt=0)
    """Largest size of the exported file (model.onnx with its data) in MB, 10^6 bytes."""
    min_speedup: float | None = Field(default=None, gt=0)
    """Smallest speed-up against the dense ONNX file, in every cell of the benchmark grid."""
    max_latency_ms: float | None = Field(default=None, gt=0)
    """Largest median time of one call, in every cell of the benchmark grid."""
    max_p99_ms: float | None = Field(default=None, gt=0)
    """Largest 99th percentile of the time of one call, in every cell of the benchmark grid."""
    max_memory_mb: float | None = Field(default=None, gt=0)
    """Largest peak memory of a process that runs the exported file through the benchmark, in MB."""
    min_same_predictions: float | None = Field(default=None, gt=0, le=1)
    """Smallest share of rows (words in tagging) for which the exported file predicts what torch does."""
    max_relative_error: float | None = Field(default=None, ge=0)
    """Largest difference of the exported file's logits to torch's, relative to the largest logit."""
    budget_seconds: float = Field(default=60.0, ge=0)
    """Seconds for measuring cases again whose speed, latency or memory are inconclusive; 0: never."""

    @property
    def default_applies(self) -> bool:
        """Whether no threshold is on the metric of the exported file or its loss, so that the default applies."""
        keys = (self.min_metric, self.max_metric_drop, self.max_part_drop, self.max_class_drop)
        return all(key is None for key in keys)

    @property
    def metric_drop(self) -> float | None:
        """Largest allowed loss of the metric, with the default; None where only other thresholds are set."""
        return DEFAULT_METRIC_DROP if self.default_applies else self.max_metric_drop

    @property
    def thresholds(self) -> dict[str, float]:
        """The thresholds that are judged, by key."""
        set_here = self.model_dump(exclude_none=True, exclude={"budget_seconds", "allow_constant_dense"})
        return {**({"max_metric_drop": DEFAULT_METRIC_DROP} if self.default_applies else {}), **set_here}

    @property
    def measured_again(self) -> bool:
        """Whether more measurements can decide any of the thresholds."""
        keys = (self.min_speedup, self.max_latency_ms, self.max_p99_ms, self.max_memory_mb)
        return self.budget_seconds > 0 and any(key is not None for key in keys)

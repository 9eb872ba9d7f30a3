"""The recipe's [gate]: what a model must reach to ship."""

from __future__ import annotations

from pydantic import Field

from sdp.recipe.base import Section


class GateSection(Section):
    """What a model must reach to ship. A threshold that is left out is not checked; every one is judged with its
    interval, and one that lies inside it is inconclusive."""

    min_metric: float | None = None
    """Lowest metric of the exported file on the evaluation split."""
    max_metric_drop: float | None = Field(default=None, ge=0)
    """Largest loss of the metric against the dense model (0.02 = two points of accuracy)."""
    max_part_drop: float | None = Field(default=None, ge=0)
    """The same for every language or subset by itself, so for the worst; where the data has none, for all of it."""
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
    """Where speed, latency or memory are inconclusive, measure those cases again for so long; 0 never does."""

    @property
    def thresholds(self) -> dict[str, float]:
        """The thresholds that are set, by key."""
        return self.model_dump(exclude_none=True, exclude={"budget_seconds"})

    @property
    def measured_again(self) -> bool:
        """Whether any threshold is one that more measurements can decide."""
        keys = (self.min_speedup, self.max_latency_ms, self.max_p99_ms, self.max_memory_mb)
        return self.budget_seconds > 0 and any(key is not None for key in keys)

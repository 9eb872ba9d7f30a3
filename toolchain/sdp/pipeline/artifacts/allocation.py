"""allocation.json of the pruning stage: the sparsity that each matrix got, and why."""

from __future__ import annotations

from sdp.pipeline.artifacts.base import Artifact, Count, Positive, Share, Stored


class AllocatedLayer(Stored):
    """A weight matrix.

    Attributes:
        elements: its weights.
        sparsity: share of them to prune.
        error: relative squared error of its outputs at this sparsity, when it is pruned alone and nothing is trained.
        ms: time of its products at this sparsity; ms_dense: at 0. Only with prune.target_speedup.
    """

    elements: Count
    sparsity: Share
    error: float
    ms: float | None = None
    ms_dense: float | None = None


class AllocationTimes(Stored):
    """Measured times in ms, with prune.target_speedup.

    Attributes:
        case: inputs, as the benchmark names them.
        threads: threads of an operator.
        dense: the dense file.
        rest: the exported file without the products of prunable weights.
        expected_speedup: of the exported file with the chosen sparsities over the dense file.
    """

    case: str
    threads: Count
    dense: Positive
    rest: float
    expected_speedup: Positive


class PruneAllocation(Artifact):
    """The sparsity of each matrix, with prune.scope = "allocated"."""

    STAGE = "prune"
    FILE = "allocation.json"

    times: AllocationTimes | None = None
    layers: dict[str, AllocatedLayer]

    @property
    def sparsities(self) -> dict[str, float]:
        """Name of a weight -> its sparsity."""
        return {name: layer.sparsity for name, layer in self.layers.items()}

    @property
    def sparsity(self) -> float:
        """Share to prune of all matrices together."""
        elements = sum(layer.elements for layer in self.layers.values())
        return sum(layer.sparsity * layer.elements for layer in self.layers.values()) / elements

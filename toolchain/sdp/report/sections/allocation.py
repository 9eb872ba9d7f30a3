"""The section on sparsities by matrix, where they were allocated."""

from __future__ import annotations

from sdp.pipeline.artifacts.allocation import PruneAllocation
from sdp.report.kernel_time import short_name
from sdp.report.section import ReportSection, RunFiles


def section(files: RunFiles) -> ReportSection | None:
    """Return the sparsity, error and time of each matrix; None where all had the same sparsity."""
    allocation = PruneAllocation.find(files.run)
    if allocation is None:
        return None
    values = {
        "allocation": allocation,
        "times": allocation.times,
        "layers": [(short_name(name), layer) for name, layer in allocation.layers.items()],
        "target": files.recipe.prune.target_speedup,
    }
    return ReportSection("Sparsity by matrix", "sections/allocation.html", values)

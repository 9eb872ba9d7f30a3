"""The section on the pruned network: zeros by layer, and measures during pruning."""

from __future__ import annotations

from collections.abc import Mapping

from sdp.pipeline.artifacts.analysis import AnalysisReport
from sdp.pipeline.artifacts.pruning import LayerZeros, PruneMetrics
from sdp.report.kernel_time import short_name
from sdp.report.plots import pruning_analysis
from sdp.report.section import ReportSection, RunFiles


def section(files: RunFiles) -> ReportSection:
    """Return the zeros of each matrix, and the analysis where the recipe enables it."""
    prune, analysis = PruneMetrics.load(files.run), AnalysisReport.find(files.run)
    blocks, matrices = sparsity_grid(prune.layers)
    values = {
        "blocks": blocks,
        "matrices": matrices,
        "metric": prune.metric,
        "analysis": analysis,
        "pictures_of_it": pruning_analysis(analysis) if analysis else [],
    }
    return ReportSection("The pruned network", "sections/network.html", values)


def sparsity_grid(
    layers: Mapping[str, LayerZeros],
) -> tuple[list[str], list[tuple[str, list[float | None]]]]:
    """Return the shares of zeros by layer and matrix.

    Args:
        layers: parameter name -> its zeros.

    Returns:
        the numbers of the layers, and for each kind of matrix its name and its share in every layer; None where a layer
        has no such matrix.
    """
    shares: dict[str, dict[str, float]] = {}
    for name, counts in layers.items():
        block, _, matrix = short_name(name).partition(".")
        shares.setdefault(matrix, {})[block] = counts.zeros / max(1, counts.elements)
    blocks = list(dict.fromkeys(block for row in shares.values() for block in row))
    return blocks, [(matrix, [row.get(block) for block in blocks]) for matrix, row in shares.items()]

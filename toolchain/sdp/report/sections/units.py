"""The section on heads and neurons, where some were removed."""

from __future__ import annotations

from sdp.pipeline.artifacts.kept_units import KeptPart, KeptUnits
from sdp.pipeline.artifacts.pruning import PruneMetrics
from sdp.pipeline.artifacts.unit_times import UnitTimes
from sdp.report import plots
from sdp.report.kernel_time import short_name
from sdp.report.section import ReportSection, RunFiles


def section(files: RunFiles) -> ReportSection | None:
    """Return how many heads and neurons each layer has; None where all have all."""
    stored = KeptUnits.find(files.run)
    if stored is None:
        return None
    layers: dict[str, dict[str, KeptPart]] = {}
    for name, part in stored.parts.items():
        layer = f"layer {short_name(name.removesuffix(f'.{part.kind}'))}"
        layers.setdefault(layer, {})[part.kind] = part
    values = {
        "layers": layers,
        "kinds": list(dict.fromkeys(part.kind for part in stored.parts.values())),
        "picture": plots.kept_units(layers),
        "times": UnitTimes.find(files.run),
        "target": files.recipe.prune.target_speedup,
        "weights": _weights(PruneMetrics.load(files.run)),
    }
    return ReportSection("Heads and neurons", "sections/units.html", values)


def _weights(metrics: PruneMetrics) -> dict[str, int]:
    """Count the weights of the encoder's linear layers: what is in the file's matrices, and what the dense network has.

    Of the dense network only the share that is zero or gone is stored.
    """
    elements = sum(own.elements for own in metrics.layers.values())
    left = elements - sum(own.zeros for own in metrics.layers.values())
    return {"left": elements, "dense": round(left / (1 - metrics.sparsity)) if metrics.sparsity < 1 else 0}

"""The section on heads and neurons, where some were removed."""

from __future__ import annotations

from sdp.pipeline.artifacts.kept_units import KeptPart, KeptUnits
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
    }
    return ReportSection("Heads and neurons", "sections/units.html", values)

"""The section with the main results: dense, pruned and exported side by side."""

from __future__ import annotations

from sdp.gate.check import TOLERANCE
from sdp.gate.measured import constant_sentence, measured_on
from sdp.pipeline.artifacts.comparison import EvaluateMetrics, ExportMetrics
from sdp.pipeline.artifacts.latency import BenchLatency
from sdp.pipeline.artifacts.pruning import PruneMetrics
from sdp.report.section import ReportSection, RunFiles
from sdp.report.tables import number_text
from sdp_onnx.bench.interval import Undefined


def section(files: RunFiles) -> ReportSection:
    """Return the table with one column for each model."""
    run = files.run
    evaluate, export, bench = EvaluateMetrics.load(run), ExportMetrics.load(run), BenchLatency.load(run)
    values = {
        "recipe": files.recipe,
        "prune": PruneMetrics.load(run),
        "evaluate": evaluate,
        "export": export,
        "bench": bench,
        "memory": {role: bench.peak_memory(role) for role in ("baseline", "candidate")},
        "constant": constant_sentence(export),
        "lost": lost_sentence(evaluate, export),
        "where": measured_on(evaluate),
    }
    return ReportSection("What it cost, what it gained", "sections/cost.html", values)


def lost_sentence(evaluate: EvaluateMetrics, export: ExportMetrics) -> str:
    """Return a sentence on the loss of the shipped file against the dense model, with its interval."""
    drop, metric = export.drop, evaluate.metric
    dense, exported = (number_text(export.models[name]) for name in ("dense", "exported"))
    where = f"{measured_on(export)}, {export.rows:,} rows"
    if isinstance(drop, Undefined):
        values = f"{dense} dense, {exported} exported"
        return f"{metric} on {where}: {values}: what was lost is undefined, because {drop.reason}."
    spread = f"{drop.value:.3f} (95 % interval {drop.low:.3f} to {drop.high:.3f})"
    low, high = (0.0 if abs(end) < TOLERANCE else end for end in (drop.low, drop.high))
    if low > 0:
        words = f"lost {spread}"
    elif high < 0:
        words = f"gained {-drop.value:.3f} (95 % interval {-drop.high:.3f} to {-drop.low:.3f})"
    elif low == high == 0:
        words = "no difference"
    else:
        words = f"a difference of {spread}, which may be chance"
    return f"{metric} on {where}: {dense} dense, {exported} exported: {words}."

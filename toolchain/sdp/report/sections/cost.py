"""The section with the main results: dense, pruned and exported side by side."""

from __future__ import annotations

from typing import Any

from sdp.gate.check import TOLERANCE
from sdp.gate.measured import constant_sentence, measured_on
from sdp.report.section import RunFiles, Section
from sdp.report.tables import number_text


def section(files: RunFiles) -> Section:
    """Return the table with one column for each model."""
    evaluate, export = files.json("3-evaluate/metrics.json"), files.json("4-export/metrics.json")
    bench = files.json("5-bench/latency.json")
    values = {
        "recipe": files.recipe,
        "prune": files.json("2-prune/metrics.json"),
        "evaluate": evaluate,
        "export": export,
        "bench": bench,
        "memory": {role: _peak_memory(bench, role) for role in ("baseline", "candidate")},
        "constant": constant_sentence(export),
        "lost": lost_sentence(evaluate, export),
        "where": measured_on(evaluate),
    }
    return Section("What it cost, what it gained", "sections/cost.html", values)


def lost_sentence(evaluate: dict[str, Any], export: dict[str, Any]) -> str:
    """Return a sentence on the loss of the shipped file against the dense model, with its interval."""
    drop, metric = export["drop"], evaluate["metric"]
    dense, exported = export["models"]["dense"]["value"], export["models"]["exported"]["value"]
    where = f"{measured_on(export)}, {export['rows']:,} rows"
    if drop["value"] is None:
        values = f"{number_text(dense)} dense, {number_text(exported)} exported"
        return f"{metric} on {where}: {values}: what was lost is undefined, because {drop['undefined']}."
    spread = f"{drop['value']:.3f} (95 % interval {drop['low']:.3f} to {drop['high']:.3f})"
    low, high = (0.0 if abs(drop[end]) < TOLERANCE else drop[end] for end in ("low", "high"))
    if low > 0:
        words = f"lost {spread}"
    elif high < 0:
        words = f"gained {-drop['value']:.3f} (95 % interval {-drop['high']:.3f} to {-drop['low']:.3f})"
    elif low == high == 0:
        words = "no difference"
    else:
        words = f"a difference of {spread}, which may be chance"
    return f"{metric} on {where}: {dense:.3f} dense, {exported:.3f} exported: {words}."


def _peak_memory(bench: dict[str, Any], role: str) -> int | None:
    peaks = [process["peak_memory_bytes"] for process in bench["processes"] if process["role"] == role]
    return max(peaks) if peaks and None not in peaks else None

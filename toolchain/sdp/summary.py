"""The table that a finished run prints: dense, pruned and exported side by side, from the run folder's JSON."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from sdp.run_folder import RunFolder, read_json

FILES = {
    "finetune": "1-finetune/metrics.json",
    "prune": "2-prune/metrics.json",
    "evaluate": "3-evaluate/metrics.json",
    "export": "4-export/metrics.json",
    "bench": "5-bench/latency.json",
    "gate": "6-gate/verdict.json",
}


def run_results(run: RunFolder) -> dict[str, Any]:
    """What each finished stage wrote, by stage, without training logs; a stage that is not done is left out."""
    results = {}
    for stage, file in FILES.items():
        content = read_json(run.path / file)
        if content is not None:
            results[stage] = {key: value for key, value in content.items() if key != "log"}
    return results


def summary_table(run: RunFolder, name: str) -> Table:
    """One row for each model, one column for each thing that matters."""
    results = run_results(run)
    evaluate, export, bench = (results.get(stage) for stage in ("evaluate", "export", "bench"))
    table = Table(title=f"{name}: what pruning cost and gained", title_justify="left")
    table.add_column("model")
    metric = f"{evaluate['metric']} on {evaluate['split']} (95 % interval)" if evaluate else "metric"
    for header in (metric, "lost", "encoder zeros", "ONNX file", "peak memory"):
        table.add_column(header, justify="right")
    cells = bench["cells"] if bench else []
    for cell in cells:
        table.add_column(f"p50 ms, {cell['name']}", justify="right")
    files = bench["files"] if bench else {}
    for model, key in (("dense", "baseline"), ("pruned", None), ("exported", "candidate")):
        source = export if model == "exported" else evaluate
        if source is None:
            continue
        lost = "" if model == "dense" else _lost(source["drop"])
        sparsity = f"{results['prune']['sparsity']:.1%}" if model != "dense" and "prune" in results else "0 %"
        size, memory = "", ""
        if key in files:
            size = f"{files[key]['bytes'] / 1e6:.1f} MB"
            memory = f"{cells[-1][key]['peak_memory_bytes'] / 1e6:.0f} MB"
        speeds = [_latency(cell, key) for cell in cells]
        table.add_row(model, _estimate(source["models"][model]), lost, sparsity, size, memory, *speeds)
    return table


def summary_lines(run: RunFolder) -> list[str]:
    """What the table does not say: the paired test, the file against torch, the verdict, where the report is."""
    results = run_results(run)
    lines = []
    if "evaluate" in results:
        test, flips = results["evaluate"]["test"], results["evaluate"]["flips"]
        changed = f"; {flips} of {results['evaluate']['rows']} predictions changed" if flips is not None else ""
        lines.append(f"dense against pruned: {test['name']} p = {test['p']:.3g}{changed}")
    if "export" in results:
        torch = results["export"]["torch"]
        lines.append(
            f"exported file against torch: largest difference {torch['max_relative_error']:.1e} of the largest logit, "
            f"{torch['same_predictions']:.1%} of predictions equal"
        )
    if "bench" in results:
        for cell in results["bench"]["cells"]:
            speed = cell["speedup"]
            spread = f"[{speed['low']:.2f}, {speed['high']:.2f}]"
            noise = "" if cell["quiet"] else " (noisy machine: the A/A check failed)"
            lines.append(f"speed-up, {cell['name']}, {cell['threads']} threads: {speed['value']:.2f} {spread}{noise}")
    if "gate" in results:
        lines.append(f"gate: {results['gate']['verdict']}")
    report = run.path / "report.html"
    if report.is_file():
        lines.append(f"report: {report}")
    return lines


def _estimate(value: dict[str, float]) -> str:
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def _lost(drop: dict[str, float]) -> str:
    return f"{drop['value']:+.3f}".replace("+", "-", 1) if drop["value"] > 0 else f"{-drop['value']:+.3f}"


def _latency(cell: dict[str, Any], key: str | None) -> str:
    return f"{cell[key]['p50_ms']:.2f}" if key is not None else ""

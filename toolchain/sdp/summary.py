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


def summary_table(run: RunFolder, name: str) -> Table | None:
    """One row for each model, one column for each thing that matters; None before there is anything to compare."""
    results = run_results(run)
    evaluate, export, bench = (results.get(stage) for stage in ("evaluate", "export", "bench"))
    if evaluate is None:
        return None
    table = Table(title=f"{name}: what pruning cost and gained", title_justify="left")
    table.add_column("model")
    metric = f"{evaluate['metric']} on {evaluate['split']} (95 % interval)"
    for header in (metric, "lost", "encoder zeros", "ONNX file", "peak memory"):
        table.add_column(header, justify="right")
    cases = bench["cases"] if bench else []
    for case in cases:
        table.add_column(f"p50 ms, {case['case']}", justify="right")
    for model, role in (("dense", "baseline"), ("pruned", None), ("exported", "candidate")):
        source = export if model == "exported" else evaluate
        if source is None:
            continue
        lost = "" if model == "dense" else f"{0.0 - round(source['drop']['value'], 3):+.3f}"
        sparsity = f"{results['prune']['sparsity']:.1%}" if model != "dense" and "prune" in results else "0 %"
        row = [model, _estimate(source["models"][model]), lost, sparsity]
        if bench and role is not None:
            row += [f"{bench[f'{role}_bytes'] / 1e6:.1f} MB", _peak_memory(bench, role)]
            row += [f"{case[role]['p50_ms']:.2f}" for case in cases]
        table.add_row(*row)
    return table


def summary_lines(run: RunFolder) -> list[str]:
    """What the table does not say: the paired test, the file against torch, the verdict, where the report is."""
    results = run_results(run)
    lines = [
        f"{stage}: {results[stage]['metric']} on dev {results[stage]['dev']:.3f}"
        for stage in ("finetune", "prune")
        if stage in results
    ]
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
        for case in results["bench"]["cases"]:
            speed = case["speedup"]
            spread = f"[{speed['low']:.2f}, {speed['high']:.2f}]"
            noise = "" if case["quiet"] else " (noisy machine: the A/A check failed)"
            lines.append(f"speed-up, {case['case']}, {case['threads']} threads: {speed['value']:.2f} {spread}{noise}")
    if "gate" in results:
        lines.append(f"gate: {results['gate']['verdict']}")
    report = run.path / "report.html"
    if report.is_file():
        lines.append(f"report: {report}")
    return lines


def _estimate(value: dict[str, float]) -> str:
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def _peak_memory(bench: dict[str, Any], role: str) -> str:
    peaks = [process["peak_memory_bytes"] for process in bench["processes"] if process["role"] == role]
    return f"{max(peaks) / 1e6:.0f} MB" if peaks and None not in peaks else ""

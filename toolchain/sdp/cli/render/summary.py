"""Tables and lines of a finished run: dense, pruned and exported side by side, from the run folder's JSON."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rich.table import Table

from sdp.gate.measured import changed_sentence, measured_on, remarks
from sdp.pipeline.gate_verdict import gate_verdict, shipped_before
from sdp.pipeline.json_file import read_json
from sdp.pipeline.run_folder import RunFolder
from sdp.report.kernel_time import longest_cases, time_line
from sdp.report.tables import number_text, p_text, spread_text

FILES = {
    "vocabulary": "0-vocabulary/vocabulary.json",
    "finetune": "1-finetune/metrics.json",
    "prune": "2-prune/metrics.json",
    "evaluate": "3-evaluate/metrics.json",
    "export": "4-export/metrics.json",
    "bench": "5-bench/latency.json",
    "gate": "6-gate/verdict.json",
}
NONE: Mapping[str, str] = MappingProxyType({})
# The models of the table, and their files in the benchmark (the pruned model has no file).
MODELS = (("dense", "baseline"), ("pruned", None), ("exported", "candidate"))


def run_results(run: RunFolder, older: Mapping[str, str] = NONE) -> dict[str, Any]:
    """Read the results of each finished stage, without training logs.

    Args:
        run: the run folder.
        older: stages with outdated results, which are left out like unfinished stages.
    """
    results = {}
    for stage, file in FILES.items():
        content = read_json(run.path / file)
        if content is not None and stage not in older:
            results[stage] = {key: value for key, value in content.items() if key != "log"}
    return results


def summary_table(results: dict[str, Any], name: str) -> Table | None:
    """Return a table with one column for each model; None before there is anything to compare."""
    if "evaluate" not in results:
        return None
    table = Table(title=f"{name}: what pruning cost and gained", title_justify="left")
    table.add_column()
    for model, _ in MODELS:
        table.add_column(model, justify="right")
    for row in summary_rows(results):
        table.add_row(*row)
    return table


def summary_rows(results: dict[str, Any]) -> list[list[str]]:
    """Return rows of a label and the values of MODELS; empty where a model has no value."""
    columns = [_model_column(results, *model) for model in MODELS]
    rows = dict.fromkeys(row for column in columns for row in column)
    return [[row, *(column.get(row, "") for column in columns)] for row in rows]


def _model_column(results: dict[str, Any], model: str, role: str | None) -> dict[str, str]:
    """Return the values of one model by the label of the row."""
    source = results.get("export" if model == "exported" else "evaluate")
    if source is None:
        return {}
    evaluate, value = results["evaluate"], source["models"][model]
    column = {
        f"{evaluate['metric']} on {measured_on(evaluate)}": number_text(value["value"]),
        "  95 % interval": spread_text(value),
    }
    if model == "dense" and (trimming := evaluate.get("vocabulary")):
        column["  with the full vocabulary"] = number_text(trimming["models"]["full"]["value"])
    drop = source["drop"]["value"]
    column["  against dense"] = "" if model == "dense" or drop is None else f"{0.0 - round(drop, 3):+.3f}"
    for name, other in source["also"].items():
        column[f"{name} on {evaluate['split']}"] = number_text(other["models"][model]["value"])
    if "prune" in results:
        column["encoder zeros"] = f"{results['prune']['sparsity'] if model != 'dense' else 0:.1%}"
    bench = results.get("bench")
    if bench is not None and role is not None:
        column["ONNX file"] = f"{bench[f'{role}_bytes'] / 1e6:.1f} MB"
        column["peak memory"] = _peak_memory(bench, role)
        for case in bench["cases"]:
            column[f"p50, {case['case']}, {case['threads']} threads"] = f"{case[role]['p50_ms']:.2f} ms"
    return column


def parts_table(results: dict[str, Any]) -> Table | None:
    """Return a table of the metric by language or subset with averages; None where the data has no parts."""
    evaluate = results.get("evaluate")
    if evaluate is None or not evaluate["parts"]:
        return None
    table = Table(title=f"{evaluate['metric']} on {evaluate['split']}, dense against pruned", title_justify="left")
    table.add_column(evaluate["part"])
    for header in ("rows", "dense", "pruned", "lost", "95 % interval", "p"):
        table.add_column(header, justify="right")
    for name, part in evaluate["parts"].items():
        table.add_row(name, f"{part['rows']:,}", *_lost(part))
    table.add_section()
    for name, average in evaluate["averages"].items():
        table.add_row(f"average, {name}", "", *_lost(average))
    return table


def vocabulary_table(results: dict[str, Any]) -> Table | None:
    """Return a table of the coverage of held-out texts by language; None where no vocabulary was trimmed."""
    vocabulary = results.get("vocabulary")
    if vocabulary is None:
        return None
    title = f"{vocabulary['pieces_after']:,} of {vocabulary['pieces_before']:,} pieces, on texts that were held out"
    table = Table(title=title, title_justify="left")
    table.add_column("language")
    for header in ("texts", "words", "as before", "pieces kept", "unknown per 1,000", "pieces a word"):
        table.add_column(header, justify="right")
    for name, part in vocabulary["parts"].items():
        table.add_row(name, f"{vocabulary['texts'][name]:,}", *_covered(part))
    table.add_section()
    all_texts = vocabulary["counted_texts"] + vocabulary["held_out_texts"]
    table.add_row("all", f"{all_texts:,}", *_covered(vocabulary["coverage"]))
    return table


def _covered(coverage: dict[str, Any]) -> list[str]:
    if not coverage["words"]:
        return ["0", "", "", "", ""]
    unknown, pieces = coverage["unknown_per_1000"], coverage["pieces_per_word"]
    return [
        f"{coverage['words']:,}",
        f"{coverage['same_words']:.1%}",
        f"{coverage['kept_pieces']:.1%}",
        f"{unknown['before']:.2f} -> {unknown['after']:.2f}",
        f"{pieces['before']:.2f} -> {pieces['after']:.2f}",
    ]


def _lost(record: dict[str, Any]) -> list[str]:
    values = [number_text(record["models"][model]["value"]) for model in ("dense", "pruned")]
    drop = record["drop"]
    return [*values, number_text(drop["value"]), spread_text(drop), p_text(record["test"]["p"])]


def summary_lines(run: RunFolder, older: Mapping[str, str] = NONE) -> list[str]:
    """Return the lines below the table: paired test, file against torch, speed, verdict, report, shipped folder.

    Args:
        run: the run folder.
        older: stages with outdated results -> reason.
    """
    results = run_results(run, older)
    lines = _first_lines(results)
    if "vocabulary" in results:
        vocabulary = results["vocabulary"]
        _, same, _, unknown, pieces = _covered(vocabulary["coverage"])
        lines.append(
            f"vocabulary: {vocabulary['pieces_after']:,} of {vocabulary['pieces_before']:,} pieces; of held-out words "
            f"{same} as before, unknown pieces per 1,000 {unknown}, pieces a word {pieces}"
        )
    lines += [
        f"{stage}: {results[stage]['metric']} on dev {_dev(results[stage])}"
        for stage in ("finetune", "prune")
        if stage in results
    ]
    if trimming := results.get("evaluate", {}).get("vocabulary"):
        lines.append(trimming_line(trimming))
    if "evaluate" in results:
        test, flips = results["evaluate"]["test"], results["evaluate"]["flips"]
        changed = f"; {flips} of {results['evaluate']['predictions']} predictions changed" if flips is not None else ""
        p_value = f"p = {p_text(test['p'])}" if test["p"] is not None else "undefined"
        lines.append(f"dense against pruned: {test['name']} {p_value}{changed}")
        if results["evaluate"]["unread_words"]:
            lines.append(f"words that no model saw (data.max_length): {results['evaluate']['unread_words']}")
    if "export" in results:
        torch = results["export"]["torch"]
        equal = torch["same_predictions"]
        lines.append(
            f"exported file against torch: largest difference {torch['max_relative_error']:.1e} of the largest logit"
            + (f", {equal:.1%} of predictions equal" if equal is not None else "")
        )
    if "bench" in results:
        for case in results["bench"]["cases"]:
            speed = case["speedup"]
            spread = f"[{speed['low']:.2f}, {speed['high']:.2f}]"
            noise = "" if case["quiet"] else " (noisy machine: the A/A check failed)"
            lines.append(f"speed-up, {case['case']}, {case['threads']} threads: {speed['value']:.2f} {spread}{noise}")
        profile = results["bench"].get("profile")
        if profile is not None:
            lines += [time_line(profile, case) for case in longest_cases(profile)]
    if "gate" in results:
        seconds = results["gate"]["measured_again"]["seconds"]
        again = f" (measured again for {seconds:.0f} s)" if seconds else ""
        lines.append(f"gate: {results['gate']['verdict']}{again}")
    if hidden := [stage for stage in FILES if stage in older]:
        renew = f"to bring all up to date: {_command('run', run)}"
        lines.append(f"older, and not shown: {', '.join(hidden)} ({older[hidden[0]]}); {renew}")
    report = run.path / "report.html"
    if report.is_file():
        lines.append(f"report: {report}{' (of an earlier state)' if 'report' in older else ''}")
    if line := _shipped_line(run, older):
        lines.append(line)
    return lines


def trimming_line(trimming: dict[str, Any]) -> str:
    """Format the cost of trimming the vocabulary for the dense model.

    Args:
        trimming: "vocabulary" in evaluate's metrics.json.
    """
    drop = trimming["drop"]
    full, trimmed = (number_text(trimming["models"][model]["value"]) for model in ("full", "trimmed"))
    spread = "" if drop["value"] is None else f", lost {drop['value']:.3f} [{drop['low']:.3f}, {drop['high']:.3f}]"
    rows = f"{trimming['changed_rows']:,} of {trimming['rows']:,} rows are tokenised otherwise"
    return f"trimming the vocabulary: {trimming['metric']} {full} with all pieces, {trimmed} without{spread}; {rows}"


def _dev(training: dict[str, Any]) -> str:
    """Format the dev metric of a training stage, or the reason why there is none."""
    reason = training.get("undefined")
    return number_text(training["dev"]) + (f" ({reason})" if reason else "")


def _first_lines(results: dict[str, Any]) -> list[str]:
    """Return the number of changed predictions, the class with the largest loss, and remarks on the results."""
    stage = next((stage for stage in ("export", "evaluate") if stage in results), None)
    if stage is None:
        return []
    record, who = results[stage], {"export": "exported file", "evaluate": "pruned model"}[stage]
    changed = changed_sentence(record)
    return [*([f"{who} against dense: {changed}"] if changed else []), *remarks(record)]


def _shipped_line(run: RunFolder, older: Mapping[str, str]) -> str:
    """Return the shipped folder and whether it matches this export and verdict, or the reason why there is none."""
    shipped, verdict = run.record("8-ship"), gate_verdict(run)
    if shipped is None:
        if verdict is None or "gate" in older:
            return ""
        not_yet = f"not shipped yet; to ship it: {_command('ship', run)}"
        return f"not shipped: the gate's verdict is {verdict}" if verdict != "pass" else not_yet
    renew = f"renew it with: {_command('ship', run)}"
    if what := shipped_before(run):
        return f"shipped: {run.stage('8-ship')} (of {what}; {renew})"
    why = f" (older: {older['ship']}; {renew})" if "ship" in older else ""
    return f"shipped: {run.stage('8-ship')}{why}"


def _command(name: str, run: RunFolder) -> str:
    """Return a command on this run, quoted for a shell."""
    return shlex.join(["sdp", name, str(run.path)])


def _peak_memory(bench: dict[str, Any], role: str) -> str:
    peaks = [process["peak_memory_bytes"] for process in bench["processes"] if process["role"] == role]
    return f"{max(peaks) / 1e6:.0f} MB" if peaks and None not in peaks else ""

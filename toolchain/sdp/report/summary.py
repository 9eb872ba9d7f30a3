"""The table that a finished run prints: dense, pruned and exported side by side."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType

from rich.table import Table

from sdp.gate.measured import changed_sentence, measured_on, remarks
from sdp.pipeline.artifacts.comparison import Compared, EvaluateMetrics, ExportMetrics, TrimmingCost
from sdp.pipeline.artifacts.intervals import value_of
from sdp.pipeline.artifacts.latency import BenchLatency
from sdp.pipeline.artifacts.pruning import PruneMetrics
from sdp.pipeline.artifacts.results import RunResults, read_results
from sdp.pipeline.artifacts.training import FinetuneMetrics
from sdp.pipeline.artifacts.vocabulary import CoverageReport, VocabularyReport
from sdp.pipeline.gate_verdict import gate_verdict, shipped_before
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.stages import SHIP
from sdp.report.kernel_time import longest_cases, time_line
from sdp.report.tables import number_text, p_text, spread_text
from sdp_onnx.bench.interval import Interval

NONE: Mapping[str, str] = MappingProxyType({})
# The models of the table, and their files in the benchmark (the pruned model has no file).
MODELS = (("dense", "baseline"), ("pruned", None), ("exported", "candidate"))


def summary_table(results: RunResults, name: str) -> Table | None:
    """Return a table with one column for each model; None before there is anything to compare."""
    if results.evaluate is None:
        return None
    table = Table(title=f"{name}: what pruning cost and gained", title_justify="left")
    table.add_column()
    for model, _ in MODELS:
        table.add_column(model, justify="right")
    for row in summary_rows(results):
        table.add_row(*row)
    return table


def summary_rows(results: RunResults) -> list[list[str]]:
    """Return rows of a label and the values of MODELS; empty where a model has no value."""
    columns = [_model_column(results, *model) for model in MODELS]
    rows = dict.fromkeys(row for column in columns for row in column)
    return [[row, *(column.get(row, "") for column in columns)] for row in rows]


def _model_column(results: RunResults, model: str, role: str | None) -> dict[str, str]:
    """Return the values of one model by the label of the row."""
    evaluate, source = results.evaluate, results.export if model == "exported" else results.evaluate
    if evaluate is None or source is None:
        return {}
    value = source.models[model]
    column = {
        f"{evaluate.metric} on {measured_on(evaluate)}": number_text(value),
        "  95 % interval": spread_text(value),
    }
    if model == "dense" and evaluate.vocabulary is not None:
        column["  with the full vocabulary"] = number_text(evaluate.vocabulary.models["full"])
    drop = value_of(source.drop) if model != "dense" else None
    column["  against dense"] = "" if drop is None else f"{0.0 - round(drop, 3):+.3f}"
    for name, other in source.also.items():
        column[f"{name} on {evaluate.split}"] = number_text(other.models[model])
    if results.prune is not None:
        if results.prune.kept_layers is not None:
            layers = results.prune.kept_layers
            column["layers"] = f"{layers.dense if model == 'dense' else layers.kept}"
        label = "encoder removed or zero" if results.prune.removes else "encoder zeros"
        column[label] = f"{results.prune.sparsity if model != 'dense' else 0:.1%}"
    if results.bench is not None and role is not None:
        column |= _costs(results.bench, role)
    return column


def _costs(bench: BenchLatency, role: str) -> dict[str, str]:
    """Bytes, memory and time of the baseline or the candidate."""
    baseline, peak = role == "baseline", bench.peak_memory(role)
    size = bench.baseline_bytes if baseline else bench.candidate_bytes
    column = {
        "ONNX file": f"{size / 1e6:.1f} MB",
        "peak memory": "" if peak is None else f"{peak / 1e6:.0f} MB",
    }
    for case in bench.cases:
        times = case.baseline if baseline else case.candidate
        column[f"p50, {case.case}, {case.threads} threads"] = f"{times.p50_ms:.2f} ms"
    return column


def parts_table(results: RunResults) -> Table | None:
    """Return a table of the metric by language or subset with averages; None where the data has no parts."""
    evaluate = results.evaluate
    if evaluate is None or not evaluate.parts:
        return None
    table = Table(title=f"{evaluate.metric} on {evaluate.split}, dense against pruned", title_justify="left")
    table.add_column(evaluate.part or "part")
    for header in ("rows", "dense", "pruned", "lost", "95 % interval", "p"):
        table.add_column(header, justify="right")
    for name, part in evaluate.parts.items():
        table.add_row(name, f"{part.rows:,}", *_lost(part))
    table.add_section()
    for name, average in evaluate.averages.items():
        table.add_row(f"average, {name}", "", *_lost(average))
    return table


def vocabulary_table(results: RunResults) -> Table | None:
    """Return a table of the coverage of held-out texts by language; None where no vocabulary was trimmed."""
    vocabulary = results.vocabulary
    if vocabulary is None:
        return None
    title = f"{vocabulary.pieces_after:,} of {vocabulary.pieces_before:,} pieces, on texts that were held out"
    table = Table(title=title, title_justify="left")
    table.add_column("language")
    for header in ("texts", "words", "as before", "pieces kept", "unknown per 1,000", "pieces a word"):
        table.add_column(header, justify="right")
    for name, part in vocabulary.parts.items():
        table.add_row(name, f"{vocabulary.texts[name]:,}", *_covered(part))
    table.add_section()
    all_texts = vocabulary.counted_texts + vocabulary.held_out_texts
    table.add_row("all", f"{all_texts:,}", *_covered(vocabulary.coverage))
    return table


def _covered(coverage: CoverageReport) -> list[str]:
    if not coverage.words:
        return ["0", "", "", "", ""]
    unknown, pieces = coverage.unknown_per_1000, coverage.pieces_per_word
    return [
        f"{coverage.words:,}",
        f"{coverage.same_words:.1%}",
        f"{coverage.kept_pieces:.1%}",
        f"{unknown.before:.2f} -> {unknown.after:.2f}",
        f"{pieces.before:.2f} -> {pieces.after:.2f}",
    ]


def _lost(record: Compared) -> list[str]:
    values = [number_text(record.models[model]) for model in ("dense", "pruned")]
    return [*values, number_text(record.drop), spread_text(record.drop), p_text(record.test.p)]


def summary_lines(run: RunFolder, older: Mapping[str, str] = NONE) -> list[str]:
    """Return the lines below the table: paired test, file against torch, speed, verdict, report, shipped folder.

    Args:
        run: the run folder.
        older: stages with outdated results -> reason.
    """
    results = read_results(run, older)
    lines = [*_first_lines(results), *_training_lines(results), *_quality_lines(results), *_speed_lines(results)]
    if results.gate is not None:
        time = results.gate.measured_again
        again = f" (measured again for {time.seconds:.0f} s)" if time is not None and time.seconds else ""
        lines.append(f"gate: {results.gate.verdict}{again}")
    if hidden := [item.name for item in fields(RunResults) if item.name in older]:
        renew = f"to bring all up to date: {_command('run', run)}"
        lines.append(f"older, and not shown: {', '.join(hidden)} ({older[hidden[0]]}); {renew}")
    report = run.path / "report.html"
    if report.is_file():
        lines.append(f"report: {report}{' (of an earlier state)' if 'report' in older else ''}")
    if line := _shipped_line(run, older):
        lines.append(line)
    return lines


def _first_lines(results: RunResults) -> list[str]:
    """Return the number of changed predictions, the class with the largest loss, and remarks on the results."""
    metrics: EvaluateMetrics | ExportMetrics | None = results.export or results.evaluate
    if metrics is None:
        return []
    who = "exported file" if results.export is not None else "pruned model"
    changed = changed_sentence(metrics)
    return [*([f"{who} against dense: {changed}"] if changed else []), *remarks(metrics)]


def _training_lines(results: RunResults) -> list[str]:
    lines = [] if results.vocabulary is None else [vocabulary_line(results.vocabulary)]
    trained = [metrics for metrics in (results.finetune, results.prune) if metrics is not None]
    return [*lines, *(f"{metrics.STAGE}: {metrics.metric} on dev {_dev(metrics)}" for metrics in trained)]


def vocabulary_line(vocabulary: VocabularyReport) -> str:
    """What the kept pieces cover, in one line."""
    _, same, _, unknown, pieces = _covered(vocabulary.coverage)
    return (
        f"vocabulary: {vocabulary.pieces_after:,} of {vocabulary.pieces_before:,} pieces; of held-out words "
        f"{same} as before, unknown pieces per 1,000 {unknown}, pieces a word {pieces}"
    )


def _dev(training: FinetuneMetrics | PruneMetrics) -> str:
    """Format the dev metric of a training stage, or the reason why there is none."""
    return number_text(training.dev) + (f" ({training.undefined})" if training.undefined else "")


def _quality_lines(results: RunResults) -> list[str]:
    lines, evaluate = [], results.evaluate
    if evaluate is not None:
        if evaluate.vocabulary is not None:
            lines.append(trimming_line(evaluate.vocabulary))
        test, flips = evaluate.test, evaluate.flips
        changed = f"; {flips} of {evaluate.predictions} predictions changed" if flips is not None else ""
        p_value = f"p = {p_text(test.p)}" if test.p is not None else "undefined"
        lines.append(f"dense against pruned: {test.name} {p_value}{changed}")
        if evaluate.unread_words:
            lines.append(f"words that no model saw (data.max_length): {evaluate.unread_words}")
    if results.export is not None:
        torch = results.export.torch
        equal = torch.same_predictions
        lines.append(
            f"exported file against torch: largest difference {torch.max_relative_error:.1e} of the largest logit"
            + (f", {equal:.1%} of predictions equal" if equal is not None else "")
        )
    return lines


def trimming_line(trimming: TrimmingCost) -> str:
    """Format the cost of trimming the vocabulary for the dense model."""
    drop = trimming.drop
    full, trimmed = (number_text(trimming.models[model]) for model in ("full", "trimmed"))
    spread = f", lost {drop.value:.3f} [{drop.low:.3f}, {drop.high:.3f}]" if isinstance(drop, Interval) else ""
    rows = f"{trimming.changed_rows:,} of {trimming.rows:,} rows are tokenised otherwise"
    return f"trimming the vocabulary: {trimming.metric} {full} with all pieces, {trimmed} without{spread}; {rows}"


def _speed_lines(results: RunResults) -> list[str]:
    lines: list[str] = []
    if results.bench is None:
        return lines
    if (runtime := results.bench.dense_runtime) is not None:
        score = number_text(runtime.score)
        lines.append(
            f"dense model timed in {runtime.name} {runtime.version}, {runtime.precision}: its score is {score}"
        )
    for case in results.bench.cases:
        speed = case.speedup
        spread = f"[{speed.low:.2f}, {speed.high:.2f}]"
        noise = "" if case.quiet else " (noisy machine: the A/A check failed)"
        lines.append(f"speed-up, {case.case}, {case.threads} threads: {speed.value:.2f} {spread}{noise}")
    profile = results.bench.profile
    if profile is not None:
        lines += [time_line(profile, case) for case in longest_cases(profile)]
    return lines


def _shipped_line(run: RunFolder, older: Mapping[str, str]) -> str:
    """Return the shipped folder and whether it matches this export and verdict, or the reason why there is none."""
    folder, verdict = run.stage(SHIP.folder), gate_verdict(run)
    if run.record(SHIP.folder) is None:
        if verdict is None or "gate" in older:
            return ""
        not_yet = f"not shipped yet; to ship it: {_command('ship', run)}"
        return f"not shipped: the gate's verdict is {verdict}" if verdict != "pass" else not_yet
    renew = f"renew it with: {_command('ship', run)}"
    if what := shipped_before(run):
        return f"shipped: {folder} (of {what}; {renew})"
    why = f" (older: {older['ship']}; {renew})" if "ship" in older else ""
    return f"shipped: {folder}{why}"


def _command(name: str, run: RunFolder) -> str:
    """Return a command on this run, quoted for a shell."""
    return shlex.join(["sdp", name, str(run.path)])

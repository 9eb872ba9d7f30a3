"""The trials of a tuning as a table: as Markdown, and as it is printed."""

from __future__ import annotations

from pathlib import Path

from sdp.report.tables import UNDEFINED, markdown_table, number_text, print_table
from sdp.tune.artifacts import TrialRow, TuneReport
from sdp.tune.candidates import DENSE_FP32
from sdp.tune.recipe_file import RECIPE_FILE
from sdp_onnx.bench.interval import Interval

DENSE = DENSE_FP32.name


def print_tuning(report: TuneReport, out: Path) -> None:
    """Print the table, its remarks, the choice and the recipe."""
    header, rows = _text(report)
    below = [*report.remarks, f"chosen: {report.chosen}", f"recipe: {out / RECIPE_FILE}"]
    print_table(_title(report), header, rows, 1, below)


def markdown(report: TuneReport) -> str:
    """The table with its remarks, for a README or notes."""
    notes = [f"* {line}" for line in report.remarks]
    return "\n".join([f"**{_title(report)}**", "", *markdown_table(*_text(report), 1), "", *notes]).rstrip() + "\n"


def _title(report: TuneReport) -> str:
    return f"{report.recipe}: the fastest model that loses at most {report.max_drop:g} of {report.metric}"


def _text(report: TuneReport) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text: the trials, the fastest first, with the dense model, then the chosen one on test."""
    split = report.trials[0].split if report.trials else "dev"
    header = [
        "candidate",
        "steps",
        f"{report.metric}, {split} [95 %]",
        "lost [95 %]",
        f"P(lost ≤ {report.max_drop:g})",
        "p50 speed-up [95 %]",
        "MB",
        "",
    ]
    rows = [(row.speedup.value, _row(row, _mark(report, row))) for row in report.trials]
    rows.append((1.0, _dense_row(report)))
    cells = [row for _, row in sorted(rows, key=lambda own: -own[0])]
    if report.confirmed is not None:
        cells.append(_row(report.confirmed, f"chosen, on {report.confirmed.split}"))
    return header, cells


def _mark(report: TuneReport, row: TrialRow) -> str:
    return "chosen" if row.folder == report.chosen else "frontier" if row.frontier else ""


def _dense_row(report: TuneReport) -> list[str]:
    dense = report.dense
    beaten = any(row.speedup.value >= 1 and row.probability == 1 for row in report.trials)
    mark = "chosen" if report.chosen == DENSE else "" if beaten else "frontier"
    metric, size = ("", "") if dense is None else (_spread(dense.metric, 3), f"{dense.bytes / 1e6:.1f}")
    return ["fp32 dense", "0", metric, "0", "1.00", "1.00", size, mark]


def _row(row: TrialRow, mark: str) -> list[str]:
    return [
        _candidate(row),
        f"{row.steps:,}",
        _spread(row.metric, 3),
        _spread(row.drop, 4),
        f"{row.probability:.2f}",
        _spread(row.speedup, 2),
        f"{row.bytes / 1e6:.1f}",
        mark,
    ]


def _candidate(row: TrialRow) -> str:
    if row.layers is not None:
        zeros = f", 1x4 {row.layer_sparsity:g}" if row.layer_sparsity is not None else ""
        return f"{row.precision} {row.layers} layer{'s' * (row.layers > 1)}{zeros}"
    return f"{row.precision} {row.pattern}{f' {row.sparsity:g}' if row.sparsity else ''}"


def _spread(measured: Interval | None, digits: int) -> str:
    if measured is None:
        return UNDEFINED
    value, low, high = (number_text(number, digits) for number in (measured.value, measured.low, measured.high))
    return f"{value} [{low}, {high}]"

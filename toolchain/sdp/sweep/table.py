"""The frontier as a table: as Markdown, and as it is printed."""

from __future__ import annotations

from pathlib import Path

from sdp.report.tables import UNDEFINED, markdown_table, number_text, print_table
from sdp.sweep.artifacts import MeasuredLevel
from sdp.sweep.frontier import Frontier, remarks
from sdp_onnx.bench.interval import Interval


def print_frontier(frontier: Frontier, out: Path) -> None:
    """Print the table, its remarks, the verdict and the folders."""
    header, rows = _text(frontier)
    below = [*remarks(frontier), f"gate: {frontier.verdict or 'not judged yet'}", f"table and plot: {out}"]
    if frontier.chosen is not None:
        below.append(f"chosen: {out / (frontier.confirmed or frontier.chosen).folder}")
    print_table(_title(frontier), header, rows, 1, below)


def markdown(frontier: Frontier) -> str:
    """The table with its remarks, for a README or notes."""
    notes = [f"* {line}" for line in remarks(frontier)]
    return "\n".join([f"**{_title(frontier)}**", "", *markdown_table(*_text(frontier), 1), "", *notes]).rstrip() + "\n"


def _title(frontier: Frontier) -> str:
    return f"{frontier.name}: {frontier.metric or 'metric'} against speed-up and size, one gradual pruning"


def _text(frontier: Frontier) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text: the dense model, the levels, then the chosen one on test."""
    levels, confirmed = frontier.levels, frontier.confirmed
    cases = [case.case for case in levels[0].cases] if levels else []
    split = levels[0].split if levels else "dev"
    header = [
        "sparsity",
        "zeros",
        f"{frontier.metric or 'metric'}, {split} [95 %]",
        "lost [95 %]",
        "ONNX file",
        "share",
    ]
    header += [*(f"speed-up, {case} [95 %]" for case in cases), "gate"]
    rows = []
    if frontier.dense is not None:
        size = f"{frontier.dense.bytes / 1e6:.1f} MB"
        rows.append(["dense", "", _spread(frontier.dense.metric, 3), "", size, "1.00", *[""] * len(cases), ""])
    rows += [_row(level, f"{level.sparsity:g}", chosen=level is frontier.chosen) for level in levels]
    if confirmed is not None:
        rows.append(_row(confirmed, f"{confirmed.sparsity:g}, on {confirmed.split}", chosen=False))
    return header, rows


def _row(level: MeasuredLevel, label: str, *, chosen: bool) -> list[str]:
    return [
        label,
        f"{level.zeros:.1%}",
        _spread(level.metric, 3),
        _spread(level.drop, 3),
        f"{level.bytes / 1e6:.1f} MB",
        f"{level.size_ratio:.2f}",
        *(_spread(case.speedup, 2) for case in level.cases),
        f"{level.verdict}, chosen" if chosen else level.verdict,
    ]


def _spread(measured: Interval | None, digits: int) -> str:
    if measured is None:
        return UNDEFINED
    value, low, high = (number_text(number, digits) for number in (measured.value, measured.low, measured.high))
    return f"{value} [{low}, {high}]"

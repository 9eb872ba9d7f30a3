"""The frontier as a table: as Markdown, and as it is printed."""

from __future__ import annotations

from pathlib import Path

from sdp.report.tables import UNDEFINED, markdown_table, number_text, print_table
from sdp.sweep.frontier import Frontier, Point, remarks
from sdp_onnx.bench.interval import Interval, Undefined


def print_frontier(frontier: Frontier, out: Path) -> None:
    """Print the table, what stands below it, and where it is."""
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
    points, confirmed = frontier.points, frontier.confirmed
    cases = [case.case for case in points[0].cases] if points else []
    split = points[0].split if points else "dev"
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
    rows += [_row(point, f"{point.sparsity:g}", chosen=point is frontier.chosen) for point in points]
    if confirmed is not None:
        rows.append(_row(confirmed, f"{confirmed.sparsity:g}, on {confirmed.split}", chosen=False))
    return header, rows


def _row(point: Point, label: str, *, chosen: bool) -> list[str]:
    return [
        label,
        f"{point.zeros:.1%}",
        _spread(point.metric, 3),
        _spread(point.drop, 3),
        f"{point.bytes / 1e6:.1f} MB",
        f"{point.size_ratio:.2f}",
        *(_spread(case.speedup, 2) for case in point.cases),
        f"{point.verdict}, chosen" if chosen else point.verdict,
    ]


def _spread(measured: Interval | Undefined, digits: int) -> str:
    if isinstance(measured, Undefined):
        return UNDEFINED
    value, low, high = (number_text(number, digits) for number in (measured.value, measured.low, measured.high))
    return f"{value} [{low}, {high}]"

"""Print what became of a model file."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from sdp.pipeline.progress import result_console
from sdp.shrink.artifacts import ShrinkReport


def print_shrunk(report: ShrinkReport, out: Path) -> None:
    """Print both files side by side on stdout."""
    console, agreement, speedup = result_console(), report.agreement, report.speedup
    zeros = f"{report.zeros:.0%} of {report.layers} matrices are zeros ({report.pattern}), " if report.sparsity else ""
    table = Table(title=f"{report.model}: {zeros}{report.precision}", title_justify="left")
    for header in ("", "original", "new"):
        table.add_column(header, justify="left" if not header else "right")
    table.add_row("ONNX file", f"{report.original_bytes / 1e6:.1f} MB", f"{report.bytes / 1e6:.1f} MB")
    table.add_row(f"p50 of one text, {report.threads} threads", f"{report.original_ms:.2f} ms", f"{report.ms:.2f} ms")
    console.print(table)
    noise = "" if report.quiet else "; the machine was noisy"
    console.print(f"{speedup.value:.2f} [{speedup.low:.2f}, {speedup.high:.2f}] times as fast{noise}", markup=False)
    same = "" if agreement.same_predictions is None else f"{agreement.same_predictions:.1%} of predictions are equal, "
    console.print(
        f"on {agreement.rows:,} other texts {same}mean cosine of the outputs {agreement.cosine:.4f}", markup=False
    )
    console.print(f"{out}: score it on labelled rows before it is shipped", markup=False)

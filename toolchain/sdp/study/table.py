"""The table of a study: computed from the cells, as Markdown for a README or notes, and as it is printed."""

from __future__ import annotations

from pathlib import Path

from sdp.report.tables import markdown_table, print_table
from sdp.statistics.seeds import Summary
from sdp.study.artifacts import ArmScores, FailedCell, Split, StudyTable
from sdp.study.comparison import compare_arms, remarks
from sdp.study.grid import Grid
from sdp.study.runner import Progress


def make_table(grid: Grid, progress: Progress) -> StudyTable:
    """Compute the table of the finished cells."""
    arms = compare_arms(grid, progress.results)
    baseline = grid.baseline
    return StudyTable(
        recipe=grid.name,
        metric=" / ".join(dict.fromkeys(arm.metric for arm in arms if arm.metric)) or "metric",
        axes={axis.name: tuple(value.label for value in axis.values) for axis in grid.axes},
        seeds=grid.seeds,
        baseline={baseline.axis: baseline.label} if baseline is not None else None,
        arms=tuple(arms),
        remarks=tuple(remarks(grid, progress.results, arms)),
        failed=tuple(
            FailedCell(cell=failure.cell.title(grid.axes), message=failure.message) for failure in progress.failures
        ),
    )


def print_study(study: StudyTable, out: Path) -> None:
    """Print the table, its footnotes and its folder."""
    below = [*footnotes(study), f"table and plot: {out}"]
    print_table(_title(study), *_text(study), len(study.axes), below)


def markdown(study: StudyTable) -> str:
    """The table with its remarks, for a README or notes."""
    notes = [f"* {line}" for line in footnotes(study)]
    lines = markdown_table(*_text(study), len(study.axes))
    return "\n".join([f"**{_title(study)}**", "", *lines, "", *notes]).rstrip() + "\n"


def footnotes(study: StudyTable) -> list[str]:
    """The lines below the table: remarks, then failures."""
    return [*study.remarks, *(f"failed: {failed.cell}: {' '.join(failed.message.split())}" for failed in study.failed)]


def _title(study: StudyTable) -> str:
    baseline = ", ".join(f"{axis}={label}" for axis, label in (study.baseline or {}).items())
    against = f"; compared with {baseline}" if baseline else ""
    over = f"mean ± sd over {study.seeds} seeds" if study.seeds > 1 else "one seed"
    return f"{study.recipe}: {study.metric}, {over}{against}"


def _text(study: StudyTable) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text. Dense scores and differences are on the test split where there is one; study.json has
    both."""
    last: Split = study.splits[-1] if study.splits else "dev"
    header = [*study.axes, "seeds", "zeros", f"dense, {last}"]
    header += [f"pruned, {split}" for split in study.splits]
    if study.baseline is not None:
        header += [f"difference, {last} [95 %]", "p", "p (Holm)"]
    header.append("agreement")
    rows = []
    for arm in study.arms:
        seeds = max((scores.pruned.n for scores in arm.splits.values()), default=0)
        row = [*arm.labels, str(seeds), f"{arm.sparsity.mean:.1%}" if arm.sparsity is not None else ""]
        row.append(_mean(arm.splits[last].dense) if last in arm.splits else "")
        row += [_mean(arm.splits[split].pruned) if split in arm.splits else "" for split in study.splits]
        if study.baseline is not None:
            row += _difference(arm.splits.get(last))
        rows.append([*row, f"{arm.agreement.mean:.1%}" if arm.agreement is not None else ""])
    return header, rows


def _mean(summary: Summary) -> str:
    return f"{summary.mean:.4f}" + (f" ± {summary.sd:.4f}" if summary.sd is not None else "")


def _difference(scores: ArmScores | None) -> list[str]:
    difference = scores.difference if scores is not None else None
    if scores is None or difference is None:
        return ["", "", ""]
    ends = difference.interval
    interval = f" [{ends.low:+.4f}, {ends.high:+.4f}]" if ends is not None else ""
    p_values = [f"{p:.3g}" if p is not None else "" for p in (difference.p, scores.holm)]
    return [f"{difference.mean:+.4f}{interval}", *p_values]

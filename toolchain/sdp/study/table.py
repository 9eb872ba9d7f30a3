"""The table of a study: as JSON, as Markdown for a README or notes, and as it is printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdp.report.tables import markdown_table, print_table
from sdp.statistics.seeds import Summary
from sdp.study.comparison import SPLITS, ArmResult, Split, SplitScores, compare_arms, remarks, to_json
from sdp.study.grid import Cell
from sdp.study.runner import Progress
from sdp.study.vary import Axis, Baseline


@dataclass(frozen=True)
class StudyTable:
    """What a study found so far.

    Attributes:
        name: of the recipe.
        axes: what is varied.
        seeds: number of seeds.
        baseline: what the arms are compared with.
        arms: one row each.
        remarks: lines below the table.
        failed: (title, message) of the cells that failed.
    """

    name: str
    axes: Sequence[Axis]
    seeds: int
    baseline: Baseline | None
    arms: Sequence[ArmResult]
    remarks: Sequence[str]
    failed: Sequence[tuple[str, str]]

    @property
    def metric(self) -> str:
        """The metric's name; several where the task is varied."""
        return " / ".join(dict.fromkeys(arm.metric for arm in self.arms if arm.metric)) or "metric"

    @property
    def splits(self) -> list[Split]:
        """The splits that any arm has."""
        return [split for split in SPLITS if any(split in arm.splits for arm in self.arms)]

    def to_json(self) -> dict[str, Any]:
        """The table with all its numbers."""
        return {
            "recipe": self.name,
            "metric": self.metric,
            "axes": {axis.name: [value.label for value in axis.values] for axis in self.axes},
            "seeds": self.seeds,
            "baseline": {self.baseline.axis: self.baseline.label} if self.baseline is not None else None,
            "arms": [to_json(arm, self.axes) for arm in self.arms],
            "remarks": list(self.remarks),
            "failed": [{"cell": title, "message": message} for title, message in self.failed],
        }


def make_table(
    cells: Sequence[Cell], axes: Sequence[Axis], baseline: Baseline | None, progress: Progress
) -> StudyTable:
    """Compute the table of what is finished."""
    arms = compare_arms(cells, progress.results, axes, baseline)
    return StudyTable(
        name=cells[0].recipe.name,
        axes=axes,
        seeds=max(cell.seed for cell in cells) + 1,
        baseline=baseline,
        arms=arms,
        remarks=remarks(cells, progress.results, arms),
        failed=[(failure.cell.title(axes), failure.message) for failure in progress.failures],
    )


def print_study(study: StudyTable, out: Path) -> None:
    """Print the table, what stands below it, and where it is."""
    below = [*footnotes(study), f"table and plot: {out}"]
    print_table(_title(study), *_text(study), len(study.axes), below)


def markdown(study: StudyTable) -> str:
    """The table with its remarks, for a README or notes."""
    notes = [f"* {line}" for line in footnotes(study)]
    lines = markdown_table(*_text(study), len(study.axes))
    return "\n".join([f"**{_title(study)}**", "", *lines, "", *notes]).rstrip() + "\n"


def footnotes(study: StudyTable) -> list[str]:
    """What stands below the table: remarks, then failures."""
    return [*study.remarks, *(f"failed: {title}: {' '.join(text.split())}" for title, text in study.failed)]


def _title(study: StudyTable) -> str:
    against = f"; compared with {study.baseline.axis}={study.baseline.label}" if study.baseline is not None else ""
    over = f"mean ± sd over {study.seeds} seeds" if study.seeds > 1 else "one seed"
    return f"{study.name}: {study.metric}, {over}{against}"


def _text(study: StudyTable) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text. Dense scores and differences are those of the test split where there is one;
    study.json has both."""
    told: Split = study.splits[-1] if study.splits else "dev"
    header = [axis.name for axis in study.axes] + ["seeds", "zeros", f"dense, {told}"]
    header += [f"pruned, {split}" for split in study.splits]
    if study.baseline is not None:
        header += [f"difference, {told} [95 %]", "p", "p (Holm)"]
    header.append("agreement")
    rows = []
    for arm in study.arms:
        seeds = max((scores.pruned.n for scores in arm.splits.values()), default=0)
        row = [*arm.arm, str(seeds), f"{arm.sparsity.mean:.1%}" if arm.sparsity is not None else ""]
        row.append(_mean(arm.splits[told].dense) if told in arm.splits else "")
        row += [_mean(arm.splits[split].pruned) if split in arm.splits else "" for split in study.splits]
        if study.baseline is not None:
            row += _difference(arm.splits.get(told))
        rows.append([*row, f"{arm.agreement.mean:.1%}" if arm.agreement is not None else ""])
    return header, rows


def _mean(summary: Summary) -> str:
    return f"{summary.mean:.4f}" + (f" ± {summary.sd:.4f}" if summary.sd is not None else "")


def _difference(scores: SplitScores | None) -> list[str]:
    difference = scores.difference if scores is not None else None
    if scores is None or difference is None:
        return ["", "", ""]
    ends = difference.interval
    interval = f" [{ends.low:+.4f}, {ends.high:+.4f}]" if ends is not None else ""
    p_values = [f"{p:.3g}" if p is not None else "" for p in (difference.p, scores.holm)]
    return [f"{difference.mean:+.4f}{interval}", *p_values]

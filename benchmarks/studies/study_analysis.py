"""The analysis of every finished study cell, arm by arm: the figures behind claims B and D.

    python benchmarks/studies/study_analysis.py [PART ...]

Means over seeds of the analysis in each cell's JSON in results/study/PART/cells, and the difference to the arm "none",
paired by seed. Figures of the weights are means over the mask updates, each taken just before the mask is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from sdp.statistics.seeds import paired_difference, summarize
from sdp.study.artifacts import CellAnalysis, CellResult

RESULTS = Path(__file__).parents[1] / "results" / "study"
BASELINE = "none"


@dataclass(frozen=True)
class Figure:
    """One line of the table: its title, and how it is computed from a cell's analysis."""

    title: str
    read: Callable[[CellAnalysis], float | None]


def _weights(name: Literal["snr_db", "hoyer", "below"]) -> Callable[[CellAnalysis], float | None]:
    def mean(analysis: CellAnalysis) -> float | None:
        values = [value for update in analysis.weights if (value := getattr(update, name)) is not None]
        return sum(values) / len(values) if values else None

    return mean


def _final(name: str) -> Callable[[CellAnalysis], float | None]:
    return lambda analysis: getattr(analysis.final, name)


FIGURES = (
    Figure("separability", _final("separability")),
    Figure("Fisher ratio", _final("fisher")),
    Figure("output SNR, dB", _final("output_snr_db")),
    Figure("CKA", _final("cka")),
    Figure("cosine", _final("cosine")),
    Figure("agreement", _final("agreement")),
    Figure("drop at a mask step", lambda analysis: analysis.recovery.mean_drop),
    Figure("steps to regain 99 %", lambda analysis: analysis.recovery.mean_steps_to_regain),
    Figure("area under recovery", lambda analysis: analysis.recovery.area),
    Figure("weight SNR, dB", _weights("snr_db")),
    Figure("Hoyer", _weights("hoyer")),
    Figure("below 1e-3 max", _weights("below")),
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def main(parts: Annotated[list[str] | None, typer.Argument(help="Parts; all without any.")] = None) -> None:
    """Print a table for each part."""
    for name in parts or sorted(folder.name for folder in RESULTS.iterdir() if (folder / "cells").is_dir()):
        results = [CellResult.read(file) for file in sorted((RESULTS / name / "cells").glob("*.json"))]
        typer.echo(f"**{name}**\n\n{analysis_table([result for result in results if result is not None])}\n")


def analysis_table(results: Sequence[CellResult]) -> str:
    """A line for each figure and a column for each arm: mean, and the paired difference to "none" with its p."""
    arms: dict[str, dict[int, CellAnalysis]] = {}
    for result in results:
        if result.analysis is not None:
            arms.setdefault(", ".join(result.arm.values()), {})[result.seed] = result.analysis
    names = sorted(arms, key=lambda name: (not name.startswith(BASELINE), name))
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for figure in FIGURES:
        row = [_entry(figure, arms[name], arms.get(_baseline_of(name), {})) for name in names]
        lines.append(f"| {figure.title} | {' | '.join(row)} |")
    return "\n".join(lines)


def _baseline_of(name: str) -> str:
    """The arm without a teacher that shares an arm's other settings."""
    return ", ".join([BASELINE, *name.split(", ")[1:]])


def _entry(figure: Figure, arm: dict[int, CellAnalysis], baseline: dict[int, CellAnalysis]) -> str:
    values, others = (
        {seed: value for seed, analysis in own.items() if (value := figure.read(analysis)) is not None}
        for own in (arm, baseline)
    )
    if not values:
        return ""
    text = f"{summarize(list(values.values())).mean:.3f}"
    found = paired_difference(values, others) if arm is not baseline else None
    if found is None:
        return text
    return f"{text} ({found.mean:+.3f}{'' if found.p is None else f', p {found.p:.2f}'})"


if __name__ == "__main__":
    app()

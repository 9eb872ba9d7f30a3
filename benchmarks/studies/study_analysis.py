"""What the analysis of every finished study cell says, arm by arm: the figures behind claims B and D.

    python benchmarks/studies/study_analysis.py [PART ...]

Means over seeds of what each cell's JSON in results/study/PART/cells holds, and the difference to the arm "none",
paired by seed. Figures of the weights are means over the mask updates, each taken just before the mask is applied.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sdp.statistics.seeds import paired_difference, summarize

RESULTS = Path(__file__).parents[1] / "results" / "study"
BASELINE = "none"


@dataclass(frozen=True)
class Figure:
    """One column: its title and where a cell has it."""

    title: str
    read: Callable[[dict[str, Any]], float | None]


def _single(table: str, name: str) -> Callable[[dict[str, Any]], float | None]:
    return lambda analysis: analysis[table].get(name)


def _weights(name: str) -> Callable[[dict[str, Any]], float | None]:
    def mean(analysis: dict[str, Any]) -> float | None:
        values = [update[name] for update in analysis["weights"] if update[name] is not None]
        return sum(values) / len(values) if values else None

    return mean


FIGURES = (
    Figure("separability", _single("final", "separability")),
    Figure("Fisher ratio", _single("final", "fisher")),
    Figure("output SNR, dB", _single("final", "output_snr_db")),
    Figure("CKA", _single("final", "cka")),
    Figure("cosine", _single("final", "cosine")),
    Figure("agreement", _single("final", "agreement")),
    Figure("drop at a mask step", _single("recovery", "mean_drop")),
    Figure("steps to regain 99 %", _single("recovery", "mean_steps_to_regain")),
    Figure("area under recovery", _single("recovery", "area")),
    Figure("weight SNR, dB", _weights("snr_db")),
    Figure("Hoyer", _weights("hoyer")),
    Figure("below 1e-3 max", _weights("below")),
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def main(parts: Annotated[list[str] | None, typer.Argument(help="Parts; all without any.")] = None) -> None:
    """Print a table for each part."""
    for name in parts or sorted(folder.name for folder in RESULTS.iterdir() if (folder / "cells").is_dir()):
        files = sorted((RESULTS / name / "cells").glob("*.json"))
        cells = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        typer.echo(f"**{name}**\n\n{analysis_table([cell for cell in cells if cell['analysis'] is not None])}\n")


def analysis_table(cells: Sequence[dict[str, Any]]) -> str:
    """A line for each figure and a column for each arm: mean, and the paired difference to "none" with its p."""
    arms: dict[str, dict[int, dict[str, Any]]] = {}
    for cell in cells:
        arms.setdefault(", ".join(cell["arm"].values()), {})[cell["seed"]] = cell["analysis"]
    names = sorted(arms, key=lambda name: (not name.startswith(BASELINE), name))
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for figure in FIGURES:
        row = [_entry(figure, arms[name], arms.get(_baseline_of(name), {})) for name in names]
        lines.append(f"| {figure.title} | {' | '.join(row)} |")
    return "\n".join(lines)


def _baseline_of(name: str) -> str:
    """The arm without a teacher that shares an arm's other settings."""
    return ", ".join([BASELINE, *name.split(", ")[1:]])


def _entry(figure: Figure, arm: dict[int, dict[str, Any]], baseline: dict[int, dict[str, Any]]) -> str:
    values = {seed: value for seed, analysis in arm.items() if (value := figure.read(analysis)) is not None}
    if not values:
        return ""
    text = f"{summarize(list(values.values())).mean:.3f}"
    others = {seed: value for seed, analysis in baseline.items() if (value := figure.read(analysis)) is not None}
    found = paired_difference(values, others)
    if found is None or arm is baseline:
        return text
    return f"{text} ({found.mean:+.3f}{'' if found.p is None else f', p {found.p:.2f}'})"


if __name__ == "__main__":
    app()

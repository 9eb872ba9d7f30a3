"""What finished runs lost: a JSON for each in results/recovery, and a table of them.

    python benchmarks/studies/drops.py store NAME RUN
    python benchmarks/studies/drops.py table
    python benchmarks/studies/drops.py against NAME OTHER

RUN is a run folder that `sdp export` has brought up to date, such as one of picture.py. Scores are those of the split
that the run evaluates: test, where the recipe has one. A name ends in "-seedN"; the table has a line for each name
without it. `against` compares two names on the same rows, whose classes both predicted: the mean difference of all
seeds that both have.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import typer

from item_means import ByItem, mean_intervals
from language_result import packed, unpacked
from sdp.cli.commands.selection import select
from sdp.pipeline.artifacts.comparison import Comparison, EvaluateMetrics, ExportMetrics
from sdp.pipeline.artifacts.pruning import PruneMetrics
from sdp.pipeline.artifacts.rows import ScoredRows
from sdp.pipeline.artifacts.training import FinetuneMetrics
from sdp.pipeline.stages import EXPORT, PRUNE
from sdp_onnx.runtimes.environment import environment_record

RESULTS = Path(__file__).parents[1] / "results" / "recovery"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)
Results = Annotated[Path, typer.Option(help="The folder of the JSON files.")]


@app.command()
def store(
    name: Annotated[str, typer.Argument(help="Of the result, ending in -seedN.")],
    run: Annotated[Path, typer.Argument(help="A finished run folder.", exists=True, file_okay=False)],
    results: Results = RESULTS,
) -> None:
    """Write what a finished run lost."""
    if re.fullmatch(r".+-seed\d+", name) is None:
        raise typer.BadParameter(f'"{name}" does not end in -seedN')
    selected = select(run, None, None, run.parent)
    pruned = selected.run.record(PRUNE.folder)
    if pruned is None or selected.run.record(EXPORT.folder) is None:
        raise typer.BadParameter(f"{run} is not exported; bring it up to date first")
    metrics, exported = PruneMetrics.load(selected.run), ExportMetrics.load(selected.run)
    content = {
        "recipe": selected.recipe_file.name,
        "seed": selected.recipe.seed,
        "train_rows": selected.recipe.data.train_rows,
        "unlabeled": [Path(file).name for file in selected.recipe.data.unlabeled or ()],
        "export": selected.recipe.export.precision,
        "prune": selected.recipe.prune.resolved(),
        "steps": max(int(record["step"] or 0) for record in metrics.log),
        "metric": metrics.metric,
        "dev": {"dense": FinetuneMetrics.load(selected.run).dev, "pruned": metrics.dev},
        "sparsity": metrics.sparsity,
        "seconds": pruned["seconds"],
        "evaluated": _scores(EvaluateMetrics.load(selected.run)),
        "exported": {**_scores(exported), "torch": exported.torch.to_json()},
        "right": _right(ScoredRows.load(selected.run)),
        "environment": environment_record(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _scores(comparison: Comparison) -> dict[str, Any]:
    names = ("split", "metric", "rows", "models", "drop", "flips")
    content = comparison.to_json()
    return {name: content[name] for name in names}


@app.command()
def table(results: Results = RESULTS) -> None:
    """Print what was lost as Markdown: the drop of each seed, and their mean."""
    arms: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(results.glob("*-seed*.json")):
        arms.setdefault(path.stem.rpartition("-seed")[0], []).append(json.loads(path.read_text("utf-8")))
    typer.echo(
        "| run | steps | minutes | dense | lost in torch | lost in the file | mean |\n|---|---|---|---|---|---|---|"
    )
    for name, found in arms.items():
        typer.echo(f"| {name} | {' | '.join(_cells(found))} |")


@app.command()
def against(
    name: Annotated[str, typer.Argument(help="Of results, without -seedN.")],
    other: Annotated[str, typer.Argument(help="Of the results that they are compared with.")],
    results: Results = RESULTS,
) -> None:
    """Print how much better one is than another on the same rows, in points of accuracy, with its 95 % interval."""
    first, second = (_rights(results, own) for own in (name, other))
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        raise typer.BadParameter(f"{name} and {other} have no seed in common, or no rows were stored with them")
    gains = np.mean([first[seed] - second[seed] for seed in seeds], axis=0)
    gain = mean_intervals({"gain": gains})["gain"]
    spread = f"{100 * gain.value:+.2f} points [{100 * gain.low:+.2f}, {100 * gain.high:+.2f}]"
    typer.echo(f"{name} against {other}, {len(seeds)} seeds: {spread}")


def _right(rows: ScoredRows) -> str | None:
    """Which rows the file has right; None where a row has no class, or more than one."""
    if rows.words is not None or rows.label_count is not None or any(isinstance(own, float) for own in rows.labels):
        return None
    return packed(np.array(rows.labels) == np.array(rows.predicted))


def _rights(results: Path, name: str) -> dict[str, ByItem]:
    """Which rows are right, by seed."""
    found = {}
    for path in results.glob(f"{name}-seed*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("right") is not None:
            found[path.stem.rpartition("-seed")[2]] = unpacked(content["right"], content["exported"]["rows"])
    return found


def _cells(found: list[dict[str, Any]]) -> list[str]:
    lost = [one["exported"]["drop"]["value"] for one in found]
    return [
        _each(f"{one['steps']:,}" for one in found),
        _each(f"{one['seconds'] / 60:.0f}" for one in found),
        _each(f"{100 * one['exported']['models']['dense']['value']:.1f}" for one in found),
        _each(f"{100 * one['evaluated']['drop']['value']:.2f}" for one in found),
        _each(f"{100 * value:.2f}" for value in lost),
        f"{100 * mean(lost):.2f}",
    ]


def _each(texts: Any) -> str:
    """The texts of all seeds; once where they are all the same."""
    listed = list(texts)
    return listed[0] if len(set(listed)) == 1 else ", ".join(listed)


if __name__ == "__main__":
    app()

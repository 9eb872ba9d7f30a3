"""What `sdp shrink` costs and gains: a classifier's dense file, pruned at several sparsities, scored with its labels.

    python benchmarks/studies/shrinking.py run RUN [--rows 512]
    python benchmarks/studies/shrinking.py table

RUN is a run folder whose fine-tuning is done, such as a point of picture.py. Its network is exported densely, as anyone
would who has no recipe; its training texts, without their labels, show `sdp shrink` what it reads. Each file is scored
on the rows that the run evaluates. The result is results/shrinking.json.
"""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from sdp.cli.commands.selection import select
from sdp.data.batches import Collator
from sdp.data.rows import Split
from sdp.evaluation.metrics import predictions, score_predictions
from sdp.evaluation.predict import onnx_network, predict_logits
from sdp.models.load import load_finetuned
from sdp.models.tokenizer import save_tokenizer, saved_tokenizer
from sdp.pipeline.progress import Reporter
from sdp.pipeline.stages import FINETUNE
from sdp.shrink.run import Shrink, shrink
from sdp.statistics.intervals import bootstrap_interval, resampled_scores
from sdp.training.inputs import finetuned_data, tokenize_split
from sdp_onnx.export.kernel_choice import Precision
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.runtimes.environment import environment_record
from sdp_onnx.runtimes.registry import default_runtime

RESULT = Path(__file__).parents[1] / "results" / "shrinking.json"
BLOCKS, FLOATS = (0.0, 0.5, 0.6, 0.7, 0.8), (0.7, 0.8)
RESAMPLES = 2000

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)


@app.command()
def run(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A fine-tuned run.", exists=True, file_okay=False)],
    rows: Annotated[int, typer.Option(min=16, help="Texts that the layers are refitted on.")] = 512,
    result: Annotated[Path, typer.Option(help="The JSON file.")] = RESULT,
) -> None:
    """Shrink, score and measure."""
    selected = select(folder, None, None, folder.parent)
    recipe, own = selected.recipe, selected.run
    if own.record(FINETUNE.folder) is None:
        raise typer.BadParameter(f"{folder} is not fine-tuned; bring it up to date first")
    data = finetuned_data(recipe, own)
    split = data.evaluation(recipe.evaluate.split)
    tokenizer = saved_tokenizer(own.stage(FINETUNE.folder))
    tokenized = tokenize_split(split, tokenizer, recipe)

    def predicted(path: Path) -> np.ndarray[Any, Any]:
        network = onnx_network(default_runtime().load(path))
        logits = predict_logits(network, tokenized, Collator(tokenizer), recipe.evaluate.batch_size)
        return predictions(recipe.task.score, logits)

    entries: list[dict[str, Any]] = []
    kinds: list[tuple[float, Precision]] = [*((own, "int8") for own in BLOCKS), *((own, "fp32") for own in FLOATS)]
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        export_torch(
            load_finetuned(own.stage(FINETUNE.folder)).eval(), work / "dense.onnx", input_names=tokenizer.inputs
        )
        save_tokenizer(tokenizer, work)
        names = [f"text{place}" for place in range(len(data.train.texts[0]))]
        texts = [dict(zip(names, row, strict=True)) for row in data.train.texts]
        (work / "texts.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in texts), encoding="utf-8")
        dense = predicted(work / "dense.onnx")
        for sparsity, precision in kinds:
            asked = _asked(work, tuple(names), sparsity, precision, rows, recipe.data.max_length)
            report = shrink(asked, Reporter())
            after = predicted(asked.out / "model.onnx")
            entries.append({**report.to_json(), "score": _scores(recipe, split, dense, after)})
    content = {
        "recipe": recipe.name,
        "metric": recipe.task.score,
        "rows": len(split),
        "dense": score_predictions(recipe.task.score, split, dense),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment_record(),
        "entries": entries,
    }
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _asked(
    work: Path, columns: tuple[str, ...], sparsity: float, precision: Precision, rows: int, max_length: int
) -> Shrink:
    return Shrink(
        model=work / "dense.onnx",
        texts=work / "texts.jsonl",
        columns=columns,
        tokenizer=work,
        out=work / f"{precision}-{sparsity}",
        sparsity=sparsity,
        pattern="1x4" if precision == "int8" else "unstructured",
        precision=precision,
        rows=rows,
        max_length=max_length,
        seed=0,
        threads=1,
        min_same=None,
    )


def _scores(recipe: Any, split: Split, dense: Any, after: Any) -> dict[str, Any]:
    """The score of the new file, and what it lost with its interval."""
    metric = recipe.task.score
    before, now = (score_predictions(metric, split, own) for own in (dense, after))
    resampled = resampled_scores(metric, split, (dense, after), RESAMPLES, recipe.seed)
    drop = bootstrap_interval(before - now, resampled[:, 0] - resampled[:, 1])
    return {"value": now, "drop": drop.to_json(), "changed": int((dense != after).sum())}


@app.command()
def table(result: Annotated[Path, typer.Option(help="The JSON file.")] = RESULT) -> None:
    """Print what was measured as Markdown."""
    content = json.loads(result.read_text(encoding="utf-8"))
    typer.echo(f"{content['recipe']}: {content['metric']} {content['dense']:.3f} dense, {content['rows']:,} rows\n")
    typer.echo("| file | score | lost | changed rows | equal on other texts | times as fast | MB |")
    typer.echo("|---|---:|---|---:|---:|---|---:|")
    for own in content["entries"]:
        score, speedup = own["score"], own["speedup"]
        drop, same = score["drop"], own["agreement"].get("same_predictions")
        cells = [
            f"{own['precision']}, {own['sparsity']:.0%} {own['pattern']}",
            f"{score['value']:.3f}",
            f"{drop['value']:.3f} [{drop['low']:.3f}, {drop['high']:.3f}]",
            f"{score['changed']:,}",
            "" if same is None else f"{same:.1%}",
            f"{speedup['value']:.2f} [{speedup['low']:.2f}, {speedup['high']:.2f}]",
            f"{own['bytes'] / 1e6:.1f}",
        ]
        typer.echo(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    app()

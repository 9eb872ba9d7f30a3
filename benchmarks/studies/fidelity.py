"""How near pruned networks are to the dense one on dev: tells settings apart where accuracy, with its noise, cannot.

    python benchmarks/studies/fidelity.py measure NAME RUN
    python benchmarks/studies/fidelity.py table

RUN is a run folder whose pruning is done. A JSON for each is in results/fidelity. Of both networks, in float32:

    hidden       squared difference of the last layer's tokens, relative to the dense network's squares
    kl           Kullback-Leibler divergence of the classes' probabilities, dense to pruned, mean over the rows
    agreement    share of the rows that both put in the same class
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torch.nn.functional import kl_div
from transformers import PreTrainedModel

from sdp.cli.commands.selection import select
from sdp.data.batches import Collator, TokenizedSplit, length_sorted_batches
from sdp.models.load import load_finetuned
from sdp.models.tokenizer import saved_tokenizer
from sdp.pipeline.artifacts.pruning import PruneMetrics
from sdp.pipeline.artifacts.training import FinetuneMetrics
from sdp.pipeline.stages import FINETUNE, PRUNE
from sdp.training.inputs import finetuned_data, tokenize_split

RESULTS = Path(__file__).parents[1] / "results" / "fidelity"
BATCH, CPU = 64, torch.device("cpu")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)
Results = Annotated[Path, typer.Option(help="The folder of the JSON files.")]


@app.command()
def measure(
    name: Annotated[str, typer.Argument(help="Of the result.")],
    run: Annotated[Path, typer.Argument(help="A run folder whose pruning is done.", exists=True, file_okay=False)],
    results: Results = RESULTS,
) -> None:
    """Read both networks on dev, and write how near they are."""
    selected = select(run, None, None, run.parent)
    recipe, folder = selected.recipe, selected.run
    pruned_record = folder.record(PRUNE.folder)
    if pruned_record is None:
        raise typer.BadParameter(f"{run} is not pruned; bring it up to date first")
    tokenizer = saved_tokenizer(folder.stage(FINETUNE.folder))
    rows = tokenize_split(finetuned_data(recipe, folder).development, tokenizer, recipe)
    dense, pruned = (load_finetuned(folder.stage(stage.folder), CPU) for stage in (FINETUNE, PRUNE))
    metrics = PruneMetrics.load(folder)
    content = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "steps": max(int(record["step"] or 0) for record in metrics.log),
        "prune": recipe.prune.resolved(),
        "rows": len(rows),
        "metric": metrics.metric,
        "dev": {"dense": FinetuneMetrics.load(folder).dev, "pruned": metrics.dev},
        "sparsity": metrics.sparsity,
        "seconds": pruned_record["seconds"],
        **nearness(dense, pruned, rows, Collator(tokenizer)),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def nearness(
    dense: PreTrainedModel, pruned: PreTrainedModel, rows: TokenizedSplit, collator: Collator
) -> dict[str, float]:
    """Compare two classifiers on rows.

    Args:
        dense: the network that was learned from.
        pruned: the one that learned.
        rows: N tokenized rows.
        collator: pads a batch.

    Returns:
        "hidden", "kl" and "agreement", as the module's docstring has them.
    """
    found = [_read(model.eval(), rows, collator) for model in (dense, pruned)]
    (hidden, logits), (other_hidden, other_logits) = found
    log_p, log_q = logits.log_softmax(-1), other_logits.log_softmax(-1)
    return {
        "hidden": float((other_hidden - hidden).square().sum() / hidden.square().sum()),
        "kl": float(kl_div(log_q, log_p, log_target=True, reduction="batchmean")),
        "agreement": float((logits.argmax(-1) == other_logits.argmax(-1)).float().mean()),
    }


def _read(model: PreTrainedModel, rows: TokenizedSplit, collator: Collator) -> tuple[Tensor, Tensor]:
    """The last layer's real tokens, [tokens, d], and the logits, [N, C], both in the order of the batches."""
    hidden, logits = [], []
    for indices in length_sorted_batches(rows, BATCH):
        batch: dict[str, Any] = collator([rows[index] for index in indices])
        inputs = {name: values for name, values in batch.items() if name not in ("labels", "index")}
        with torch.inference_mode():
            output = model(**inputs, output_hidden_states=True)
        hidden.append(output.hidden_states[-1][batch["attention_mask"].bool()])
        logits.append(output.logits)
    return torch.cat(hidden), torch.cat(logits)


@app.command()
def table(results: Results = RESULTS) -> None:
    """Print what was measured as Markdown, the nearest first."""
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in results.glob("*.json")}
    typer.echo("| run | steps | hidden | kl | agreement | dev, dense | dev, pruned | minutes |")
    typer.echo("|---" * 8 + "|")
    for name, one in sorted(found.items(), key=lambda pair: (pair[1]["kl"], pair[0])):
        dev = " | ".join(f"{one['dev'][network]:.3f}" for network in ("dense", "pruned"))
        typer.echo(
            f"| {name} | {one['steps']:,} | {one['hidden']:.3f} | {one['kl']:.3f} | {one['agreement']:.1%} | "
            f"{dev} | {one['seconds'] / 60:.0f} |"
        )


if __name__ == "__main__":
    app()

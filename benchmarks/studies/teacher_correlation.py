"""What the cross-correlation objective asks of a network that already is its own teacher.

    python benchmarks/studies/teacher_correlation.py RUN ...

RUN is a run folder whose fine-tuning is done (a study keeps its teachers in results/study/PART/teachers while it runs).
Of the pretrained and of the fine-tuned encoder, on dev rows, last layer, mean over the real tokens, it tells

* the effective rank of the features' correlation matrix R, (sum of eigenvalues)^2 / sum of their squares: d if they are
  uncorrelated, 1 if all say the same;
* the loss of the network against itself, in batches of 32 rows: the off-diagonal part alone, as C is R. Where it is not
  small beside 1, which is what a network that says nothing of its teacher pays on the diagonal, the loss does not draw
  the pruned network to its teacher but away from what the teacher's features have in common: the classes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from sdp.cli.commands.selection import select
from sdp.data.batches import Collator
from sdp.data.load import load_task_data
from sdp.losses.cross_correlation import cross_correlation_loss, cross_correlation_matrix
from sdp.models.load import load_finetuned, load_pretrained
from sdp.models.source import locate_model
from sdp.models.tokenizer import load_tokenizer
from sdp.pruning.analysis.probe import Probe
from sdp.recipe.losses import CrossCorrelationLoss
from sdp.training.inputs import tokenize_split

RESULTS = Path(__file__).parents[1] / "results" / "teacher_correlation.json"
BATCH, CPU = 32, torch.device("cpu")
OFF_DIAGONAL: float = CrossCorrelationLoss(name="cross-correlation").off_diagonal

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)


@app.command()
def main(
    folders: Annotated[list[Path], typer.Argument(help="Run folders whose fine-tuning is done.")],
    output: Annotated[Path, typer.Option(help="The JSON of the results.")] = RESULTS,
) -> None:
    """Measure each run's pretrained and fine-tuned encoder, and print a table."""
    records = [record for folder in folders for record in measure(folder)]
    output.write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")
    typer.echo("| task | encoder | rows | effective rank | loss against itself | of uncorrelated features |")
    typer.echo("|---|---|---|---|---|---|")
    for record in records:
        typer.echo(
            f"| {record['task']}, seed {record['seed']} | {record['encoder']} | {record['rows']} | "
            f"{record['effective_rank']:.1f} of {record['width']} | {record['loss']:.3f} | {record['floor']:.3f} |"
        )


def measure(folder: Path) -> list[dict[str, Any]]:
    """A record for the pretrained encoder and one for the fine-tuned one."""
    recipe = select(folder, None, None, folder.parent).recipe
    data = load_task_data(recipe)
    tuned = folder / "1-finetune"
    tokenizer = load_tokenizer(tuned)
    rows = tokenize_split(data.development, tokenizer, recipe)
    pretrained = load_pretrained(locate_model(recipe.model), recipe.task.problem_type, data.label_names, CPU)
    records = []
    for name, model in (("pretrained", pretrained), ("fine-tuned", load_finetuned(tuned))):
        features = Probe(model, rows, Collator(tokenizer), BATCH, lambda logits: 0.0)().rows
        record = {"task": recipe.task.name or recipe.name, "seed": recipe.seed, "encoder": name}
        records.append({**record, **correlation(torch.from_numpy(features))})
    return records


def correlation(features: torch.Tensor) -> dict[str, Any]:
    """Effective rank and loss against itself of features, [N, d]."""
    width = features.shape[1]
    eigenvalues = torch.linalg.eigvalsh(cross_correlation_matrix(features, features).double())
    # Rows are in the order of the split; a batch of training is drawn at random.
    order = np.random.default_rng(0).permutation(len(features))
    batches = [features[order[start : start + BATCH]] for start in range(0, len(features) - BATCH + 1, BATCH)]
    losses = [float(cross_correlation_loss(batch, batch, OFF_DIAGONAL)) for batch in batches]
    return {
        "rows": len(features),
        "width": width,
        "effective_rank": float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum()),
        "loss": float(np.mean(losses)),
        "floor": OFF_DIAGONAL * (width - 1) / BATCH,
    }


if __name__ == "__main__":
    app()

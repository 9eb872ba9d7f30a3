"""Stage 3: what pruning lost, on the evaluation split: dense against pruned, both in torch.

Writes metrics.json (scores with intervals, drop, paired test, languages or subsets), flips.csv (rows whose prediction
changed) and predictions.safetensors (logits of both models).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from sdp.console import Reporter
from sdp.data.batches import Collator
from sdp.data.load import load_task_data
from sdp.evaluation.flips import write_flips
from sdp.models.load import load_finetuned, load_tokenizer
from sdp.recipe.sections import Recipe
from sdp.run_folder import RunFolder, write_json
from sdp.stages.comparison import compare_models
from sdp.stages.training_inputs import tokenize_split
from sdp.training.device import training_device
from sdp.training.predict import predict_logits


def run(recipe: Recipe, run: RunFolder, target: Path, reporter: Reporter) -> dict[str, Any]:
    """Evaluate the dense and the pruned model on the same rows."""
    device = training_device(recipe.runtime)
    data = load_task_data(recipe)
    split = data.evaluation(recipe.evaluate.split)
    tokenizer = load_tokenizer(run.stage("1-finetune"))
    rows, collator = tokenize_split(split, tokenizer, recipe), Collator(tokenizer)
    logits: dict[str, NDArray[np.float32]] = {}
    for name, folder in (("dense", "1-finetune"), ("pruned", "2-prune")):
        model = load_finetuned(run.stage(folder), device)
        logits[name] = predict_logits(model, rows, collator, recipe.evaluate.batch_size)
    metric = recipe.task.score
    dense, pruned = logits["dense"], logits["pruned"]
    record = compare_models(recipe, data, split, rows, ("dense", dense), ("pruned", pruned))
    write_json(target / "metrics.json", record)
    write_flips(target / "flips.csv", split, data.label_names, dense, pruned)
    save_file(logits, target / "predictions.safetensors")
    return {
        f"dense {metric}": record["models"]["dense"]["value"],
        f"pruned {metric}": record["models"]["pruned"]["value"],
        "p": record["test"]["p"],
    }

"""Stage 3: compare the dense and the pruned model on the evaluation split, both in torch.

After a quantization-aware phase the pruned model computes in int8, as it was trained and as its file will.

Writes metrics.json (scores with intervals, drop, paired test, languages or subsets, the dense model against one answer
for all rows; with [vocabulary] also what trimming it cost), flips.csv (rows whose prediction changed) and
predictions.safetensors (logits of both models).
"""

from __future__ import annotations

from sdp.data.batches import Collator
from sdp.evaluation.compare import against_constant
from sdp.evaluation.flips import write_flips
from sdp.evaluation.on_split import compare_models
from sdp.evaluation.predict import predict_logits
from sdp.evaluation.stored_logits import LogitsFile
from sdp.evaluation.torch_network import torch_network
from sdp.gate.measured import remarks
from sdp.models.inputs import require_embeddings
from sdp.models.int8_network import computing_in_int8
from sdp.models.load import load_finetuned
from sdp.models.tokenizer import saved_tokenizer
from sdp.pipeline.artifacts.base import present
from sdp.pipeline.artifacts.comparison import FLIPS_FILE, EvaluateMetrics
from sdp.pipeline.artifacts.intervals import value_of
from sdp.pipeline.artifacts.record import StageResult
from sdp.pipeline.context import StageContext
from sdp.pipeline.files import read_arrays, write_arrays
from sdp.pipeline.run_folder import CHECKPOINTS
from sdp.pipeline.stages import FINETUNE, PRUNE
from sdp.training.device import training_device
from sdp.training.inputs import finetuned_data, tokenize_split
from sdp.vocabulary.trimming_cost import trimming_cost

PREDICTIONS = "predictions.safetensors"
MODELS = {"dense": FINETUNE, "pruned": PRUNE}


def run(context: StageContext) -> StageResult:
    """Evaluate the dense and the pruned model on the same rows."""
    recipe, run, target, reporter = context.recipe, context.run, context.target, context.reporter
    device = training_device(recipe.runtime)
    data = finetuned_data(recipe, run)
    split = data.evaluation(recipe.evaluate.split)
    tokenizer = saved_tokenizer(run.stage(FINETUNE.folder))
    rows, collator = tokenize_split(split, tokenizer, recipe), Collator(tokenizer)
    # Logits are stored for a resumed attempt: two networks on the rows of many languages take hours.
    logits = read_arrays(target / PREDICTIONS)
    for name, stage in MODELS.items():
        if name not in logits:
            folder = run.stage(stage.folder)
            model = load_finetuned(folder, device)
            require_embeddings(model, rows.rows, str(folder), split.name)
            logits_file = LogitsFile(target / CHECKPOINTS / f"{name}.safetensors", recipe.runtime.checkpoint_seconds)
            in_int8 = name == "pruned" and recipe.prune.quantization_aware > 0
            with computing_in_int8(model, in_int8), reporter.task(f"{name}, tokens", rows.tokens) as task:
                network = torch_network(model)
                logits[name] = predict_logits(network, rows, collator, recipe.evaluate.batch_size, task, logits_file)
            write_arrays(target / PREDICTIONS, logits)
    metric = recipe.task.score
    dense, pruned = logits["dense"], logits["pruned"]
    found = compare_models(recipe, data, split, rows, ("dense", dense), ("pruned", pruned))
    trimming = None
    if recipe.vocabulary is not None:
        trimming = trimming_cost(context, data, split, rows, dense, device)
    resamples, seed = recipe.evaluate.resamples, recipe.seed
    constant = against_constant(metric, split, data.label_names, dense, resamples=resamples, seed=seed)
    metrics = EvaluateMetrics(**found.given(), **present(vocabulary=trimming), constant=constant)
    for line in remarks(metrics):
        reporter.line(f"  {line}")
    metrics.store(target)
    write_flips(target / FLIPS_FILE, split, data.label_names, dense, pruned)
    return {
        f"dense {metric}": value_of(metrics.models["dense"]),
        f"pruned {metric}": value_of(metrics.models["pruned"]),
        "p": metrics.test.p,
        **({} if trimming is None else {"lost by trimming": value_of(trimming.drop)}),
    }

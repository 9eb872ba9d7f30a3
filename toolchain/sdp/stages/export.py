"""Stage 4: export the pruned model to an ONNX file, reopen it, compare it with torch and score it.

Writes what is shipped: model.onnx (and model.onnx.data above the size limit), the operator library where the model
uses it, the tokenizer, config.json with the label names, manifest.json; beside them metrics.json, the score of this
very file run by onnxruntime.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

import numpy as np
from safetensors.numpy import load_file

import sdp
from sdp.data.batches import Collator
from sdp.data.source import text_names
from sdp.evaluation.metrics import NUMERIC, predictions
from sdp.evaluation.on_split import compare_models
from sdp.evaluation.onnx_network import onnx_network
from sdp.evaluation.predict import predict_logits
from sdp.evaluation.scored_rows import rows_record
from sdp.evaluation.stored_logits import Kept
from sdp.models.export import MODEL_FILE, Exported, export_file
from sdp.models.tokenizer import saved_tokenizer
from sdp.models.tokenizer_check import check_tokenizer
from sdp.pipeline.context import StageContext
from sdp.pipeline.json_file import read_json, write_json
from sdp.pipeline.libraries import library_versions
from sdp.pipeline.run_folder import CHECKPOINTS, STAGE_FILE, RunFolder
from sdp.recipe.sections import Recipe
from sdp.recipe.shareable import shareable
from sdp.stages.evaluate import PREDICTIONS
from sdp.training.inputs import finetuned_data, tokenize_split
from sdp_onnx.deploy.manifest import write_manifest
from sdp_onnx.deploy.verify import relative_error
from sdp_onnx.runtimes.registry import default_runtime


def run(context: StageContext) -> dict[str, Any]:
    """Export, encode, verify and score the pruned model; resumes an interrupted attempt in `target`."""
    recipe, run, target, reporter = context.recipe, context.run, context.target, context.reporter
    data = finetuned_data(recipe, run)
    split = data.evaluation(recipe.evaluate.split)
    tokenizer = saved_tokenizer(run.stage("2-prune"))
    rows = tokenize_split(split, tokenizer, recipe)
    exported = export_file(context, tokenizer, rows)
    check_tokenizer(target, split, rows)
    reporter.line("  scoring the exported file with onnxruntime")
    kept = Kept(target / CHECKPOINTS / "logits.safetensors", recipe.runtime.checkpoint_seconds)
    with reporter.task("tokens", rows.tokens) as task:
        network = onnx_network(default_runtime().load(target / MODEL_FILE, threads=recipe.runtime.threads))
        logits = predict_logits(network, rows, Collator(tokenizer), recipe.evaluate.batch_size, task, kept)
    stored = load_file(run.stage("3-evaluate") / PREDICTIONS)
    metric = recipe.task.score
    record = compare_models(recipe, data, split, rows, ("dense", stored["dense"]), ("exported", logits))
    # The stored logits of the dense model on the same rows.
    record["constant"] = (read_json(run.stage("3-evaluate") / "metrics.json") or {})["constant"]
    same = float(np.mean(predictions(metric, stored["pruned"]) == predictions(metric, logits)))
    # Words without output have none in the file either.
    read = ~np.isnan(stored["pruned"]).any(axis=1)
    record["torch"] = {
        "verified_rows": exported.verified_rows,
        "max_relative_error": exported.relative_error,
        "tolerance": recipe.export.allowed_error,
        "split_relative_error": relative_error(stored["pruned"][read], logits[read]),
        "same_predictions": None if metric in NUMERIC else same,
    }
    write_json(target / "metrics.json", record)
    # On one line, because it is as long as the split.
    rows_of = json.dumps(rows_record(split, predictions(metric, logits)), separators=(",", ":"))
    (target / "rows.json").write_text(rows_of + "\n", encoding="utf-8")
    file_bytes = sum(file.stat().st_size for file in target.glob(f"{MODEL_FILE}*"))
    # The manifest lists the files that exist now.
    shutil.rmtree(target / CHECKPOINTS)
    write_manifest(target, _manifest(recipe, run, exported, record), omit=(STAGE_FILE,))
    return {
        metric: record["models"]["exported"]["value"],
        "bytes": file_bytes,
        "max_relative_error": exported.relative_error,
    }


def _manifest(
    recipe: Recipe,
    run: RunFolder,
    exported: Exported,
    metrics: dict[str, Any],
) -> dict[str, Any]:
    finetune = read_json(run.stage("1-finetune") / STAGE_FILE) or {}
    return {
        "sdp": sdp.__version__,
        "recipe": shareable(recipe),
        "inputs": finetune["ingredients"]["inputs"],
        "versions": library_versions(("torch", "transformers", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxscript")),
        "onnxruntime": exported.oldest_onnxruntime,
        "max_length": recipe.data.max_length,
        "problem_type": recipe.task.problem_type,
        "text_columns": len(text_names(recipe)),
        "text_names": text_names(recipe),
        "layers": exported.layers,
        "tensors": exported.tensors,
        "metrics": {name: metrics[name] for name in ("split", "metric", "models", "drop", "also", "torch")},
    }

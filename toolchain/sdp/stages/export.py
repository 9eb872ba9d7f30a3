"""Stage 4: export the pruned model to an ONNX file, reopen it, compare it with torch and score it.

Writes what is shipped: model.onnx (and model.onnx.data above the size limit), the operator library where the model
uses it, the tokenizer, config.json with the label names, manifest.json; beside them metrics.json, the score of this
very file run by onnxruntime.
"""

from __future__ import annotations

import shutil

import numpy as np
from safetensors.numpy import load_file

import sdp
from sdp.data.batches import Collator
from sdp.data.rows import TaskData
from sdp.data.source import text_names
from sdp.evaluation.answers import SCORE
from sdp.evaluation.compare import Logits
from sdp.evaluation.metrics import NUMERIC, predictions, same
from sdp.evaluation.on_split import compare_models
from sdp.evaluation.predict import onnx_network, predict_logits
from sdp.evaluation.scored_rows import scored_rows
from sdp.evaluation.stored_logits import LogitsFile
from sdp.models.export import MODEL_FILE, Exported, export_file
from sdp.models.tokenizer import check_tokenizer, saved_tokenizer
from sdp.pipeline.artifacts.base import present
from sdp.pipeline.artifacts.comparison import EvaluateMetrics, ExportMetrics, TorchDifference
from sdp.pipeline.artifacts.intervals import value_of
from sdp.pipeline.artifacts.manifest import ExportManifest, ManifestMetrics
from sdp.pipeline.artifacts.record import StageResult
from sdp.pipeline.context import StageContext
from sdp.pipeline.files import read_json
from sdp.pipeline.libraries import library_versions
from sdp.pipeline.run_folder import CHECKPOINTS, STAGE_FILE, RunFolder
from sdp.pipeline.stages import EVALUATE, FINETUNE, PRUNE
from sdp.recipe.sections import Recipe
from sdp.recipe.shareable import shareable
from sdp.stages.evaluate import PREDICTIONS
from sdp.training.inputs import finetuned_data, tokenize_split
from sdp_onnx.deploy.verify import relative_error
from sdp_onnx.runtimes.registry import default_runtime


def run(context: StageContext) -> StageResult:
    """Export, encode, verify and score the pruned model; resumes an interrupted attempt in `target`."""
    recipe, run, target, reporter = context.recipe, context.run, context.target, context.reporter
    data = finetuned_data(recipe, run)
    split = data.evaluation(recipe.evaluate.split)
    tokenizer = saved_tokenizer(run.stage(PRUNE.folder))
    rows = tokenize_split(split, tokenizer, recipe)
    exported = export_file(context, tokenizer, rows)
    check_tokenizer(target, split if rows.compared is None else split.apart(), rows)
    reporter.line("  scoring the exported file with onnxruntime")
    logits_file = LogitsFile(target / CHECKPOINTS / "logits.safetensors", recipe.runtime.checkpoint_seconds)
    with reporter.task("tokens", rows.tokens) as task:
        runtime = default_runtime()
        model = runtime.load(target / MODEL_FILE, provider=recipe.export_provider, threads=recipe.runtime.threads)
        network = onnx_network(model)
        logits = predict_logits(network, rows, Collator(tokenizer), recipe.evaluate.batch_size, task, logits_file)
    torch_logits = load_file(run.stage(EVALUATE.folder) / PREDICTIONS)
    metric = recipe.task.score
    found = compare_models(recipe, data, split, rows, ("dense", torch_logits["dense"]), ("exported", logits))
    metrics = ExportMetrics(
        **found.given(),
        # The stored logits of the dense model on the same rows.
        constant=EvaluateMetrics.load(run).constant,
        torch=_torch_difference(recipe, exported, torch_logits["pruned"], logits),
    )
    metrics.store(target)
    scored_rows(split, predictions(metric, logits, multi_label=split.multi_label)).store(target)
    file_bytes = sum(file.stat().st_size for file in target.glob(f"{MODEL_FILE}*"))
    # The manifest lists the files that exist now.
    shutil.rmtree(target / CHECKPOINTS)
    _manifest(recipe, run, data, exported, metrics).store(target)
    return {
        metric: value_of(metrics.models["exported"]),
        "bytes": file_bytes,
        "max_relative_error": exported.relative_error,
    }


def _torch_difference(recipe: Recipe, exported: Exported, pruned: Logits, logits: Logits) -> TorchDifference:
    """How the file's logits differ from the pruned model's in torch."""
    metric = recipe.task.score
    several = recipe.task.problem_type == "multi-label"
    equal = same(*(predictions(metric, own, multi_label=several) for own in (pruned, logits)))
    if recipe.task.problem_type == "question-answering":
        # The other columns are no outputs.
        pruned, logits = pruned[:, [SCORE]], logits[:, [SCORE]]
    # Words beyond the length limit have logits from neither.
    read = ~np.isnan(pruned).any(axis=1)
    return TorchDifference(
        verified_rows=exported.verified_rows,
        max_relative_error=exported.relative_error,
        tolerance=recipe.export.allowed_error,
        split_relative_error=relative_error(pruned[read], logits[read]),
        same_predictions=None if metric in NUMERIC else float(np.mean(equal)),
    )


def _manifest(
    recipe: Recipe, run: RunFolder, data: TaskData, exported: Exported, metrics: ExportMetrics
) -> ExportManifest:
    finetune = read_json(run.stage(FINETUNE.folder) / STAGE_FILE) or {}
    # An embedding is of one text, whatever the columns of its data.
    names = ("text",) if recipe.task.problem_type == "embedding" else text_names(recipe)
    return ExportManifest(
        sdp=sdp.__version__,
        recipe=shareable(recipe),
        inputs=finetune["ingredients"]["inputs"],
        versions=library_versions(("torch", "transformers", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxscript")),
        onnxruntime=exported.oldest_onnxruntime,
        max_length=recipe.data.max_length,
        problem_type=recipe.task.problem_type,
        text_columns=len(names),
        text_names=names,
        **present(optional_answers=data.train.answers.optional if data.train.answers is not None else None),
        layers=exported.layers,
        tensors=exported.tensors,
        metrics=ManifestMetrics(**{name: getattr(metrics, name) for name in ManifestMetrics.model_fields}),
    )

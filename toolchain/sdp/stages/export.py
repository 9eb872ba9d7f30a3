"""Stage 4: the pruned model as an ONNX file that is reopened, compared with torch and scored before it counts.

Writes what is shipped: model.onnx (and model.onnx.data above the size limit), the operator library where the model
uses it, the tokenizer, config.json with the label names, manifest.json; beside them metrics.json, the score of this
very file run by onnxruntime.
"""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import sdp
from sdp.code_version import library_versions
from sdp.console import Reporter
from sdp.data.batches import Collator, TokenizedSplit
from sdp.data.load import load_task_data
from sdp.data.source import resolve_source
from sdp.errors import StageError
from sdp.evaluation.metrics import NUMERIC, predictions
from sdp.evaluation.onnx_predict import model_inputs, predict_logits
from sdp.evaluation.rows_record import rows_record
from sdp.models.load import load_finetuned, load_tokenizer
from sdp.pruning.layers import prunable_weights
from sdp.recipe.sections import Recipe
from sdp.recipe.shareable import shareable
from sdp.run_folder import STAGE_FILE, RunFolder, read_json, write_json
from sdp.stages.comparison import compare_models
from sdp.stages.evaluate import PREDICTIONS
from sdp.stages.training_inputs import tokenize_split
from sdp_onnx.encode import EncodingChoice, encode_model
from sdp_onnx.manifest import write_manifest
from sdp_onnx.model_file import TensorRecord, check_file
from sdp_onnx.operator_library import has_library, library_path
from sdp_onnx.session import create_session
from sdp_onnx.torch_export import export_torch
from sdp_onnx.verify import relative_error, verify_logits, zeros_by_tensor

MODEL_FILE = "model.onnx"
# Rows in one call while verifying; 1 is what a server sends most.
VERIFIED_BATCH_SIZES = (1, 2, 7)


@dataclass(frozen=True)
class _Torch:
    """What the exported file must agree with, kept when the model itself has gone.

    Attributes:
        zeros: of each pruned layer, zeros and elements.
        batches: inputs by name, and torch's logits for them.
    """

    zeros: dict[str, tuple[int, int]]
    batches: list[tuple[dict[str, NDArray[np.int64]], NDArray[np.float32]]]


def run(recipe: Recipe, run: RunFolder, target: Path, reporter: Reporter) -> dict[str, Any]:
    """Export, encode, verify and score the pruned model."""
    source = run.stage("2-prune")
    data = load_task_data(recipe)
    split = data.evaluation(recipe.evaluate.split)
    tokenizer = load_tokenizer(source)
    rows, collator = tokenize_split(split, tokenizer, recipe), Collator(tokenizer)
    path = target / MODEL_FILE
    with _work_folder(target) as work:
        expected = _export_dense(recipe, source, tokenizer, rows, collator, work)
        # Encoding, and onnxruntime after it, need as much memory as the model did, which is free by now.
        gc.collect()
        records = _encode(recipe, run, work / MODEL_FILE, path)
    if any(record.encoding == "kernel" for record in records):
        shutil.copy(library_path(), target)
    tokenizer.save_pretrained(target)
    reporter.line("  verifying against torch")
    check_file(path)
    layers = _same_zeros(expected.zeros, path, exact=recipe.export.precision == "fp32")
    tolerance = recipe.export.allowed_error
    agreement = verify_logits(path, expected.batches, tolerance=tolerance)
    reporter.line("  scoring the exported file with onnxruntime")
    with reporter.task("tokens", rows.tokens) as task:
        logits = predict_logits(create_session(path), rows, collator, recipe.evaluate.batch_size, task)
    said = load_file(run.stage("3-evaluate") / PREDICTIONS)
    metric = recipe.task.score
    record = compare_models(recipe, data, split, rows, ("dense", said["dense"]), ("exported", logits))
    same = float(np.mean(predictions(metric, said["pruned"]) == predictions(metric, logits)))
    # Where the model says nothing about a word, neither does the file.
    read = ~np.isnan(said["pruned"]).any(axis=1)
    record["torch"] = {
        "verified_rows": agreement.rows,
        "max_relative_error": agreement.relative_error,
        "tolerance": tolerance,
        "split_relative_error": relative_error(said["pruned"][read], logits[read]),
        "same_predictions": None if metric in NUMERIC else same,
    }
    write_json(target / "metrics.json", record)
    # On one line: as long as the split.
    rows_of = json.dumps(rows_record(split, predictions(metric, logits)), separators=(",", ":"))
    (target / "rows.json").write_text(rows_of + "\n", encoding="utf-8")
    file_bytes = sum(file.stat().st_size for file in target.glob(f"{MODEL_FILE}*"))
    write_manifest(target, _manifest(recipe, run, records, layers, record), omit=(STAGE_FILE,))
    return {
        metric: record["models"]["exported"]["value"],
        "bytes": file_bytes,
        "max_relative_error": agreement.relative_error,
    }


@contextmanager
def _work_folder(target: Path) -> Iterator[Path]:
    """A folder for the dense file, which goes with the block."""
    work = target / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _export_dense(
    recipe: Recipe,
    source: Path,
    tokenizer: PreTrainedTokenizerBase,
    rows: TokenizedSplit,
    collator: Collator,
    work: Path,
) -> _Torch:
    """Write the dense file and the model's config.json, and note what the model says and holds.

    The model ends with the function.
    """
    model = load_finetuned(source)
    model.config.save_pretrained(work.parent)
    zeros = {name: (int((weight == 0).sum()), weight.numel()) for name, weight in prunable_weights(model).items()}
    batches = list(_torch_batches(model, rows, collator, tokenizer))
    export_torch(
        model,
        work / MODEL_FILE,
        input_names=tokenizer.model_input_names,
        opset=recipe.export.opset,
        # Weights outside the file are read one by one, so that encoding never holds all of them.
        external_data_threshold=0,
    )
    return _Torch(zeros, batches)


def _encode(recipe: Recipe, run: RunFolder, dense: Path, path: Path) -> list[TensorRecord]:
    metadata = {
        "sdp.version": sdp.__version__,
        "sdp.recipe": json.dumps(shareable(recipe), sort_keys=True),
        "sdp.layers": json.dumps((read_json(run.stage("2-prune") / "metrics.json") or {}).get("layers", {})),
    }
    return encode_model(
        dense,
        path,
        encoding=_encoding(recipe),
        precision=recipe.export.precision,
        metadata=metadata,
        external_data_threshold=recipe.export.external_data_mb * 10**6,
    )


def _encoding(recipe: Recipe) -> EncodingChoice:
    """What the recipe asks for, or the best that this installation can run.

    Raises:
        OperatorLibraryError: the recipe asks for the operator library, and this installation has none.
    """
    if recipe.export.encoding == "kernel" or recipe.export.precision == "int8":
        library_path()
    return "kernel" if recipe.export.encoding == "auto" and has_library() else recipe.export.encoding


def _same_zeros(expected: dict[str, tuple[int, int]], path: Path, *, exact: bool) -> dict[str, dict[str, int]]:
    """Compare zeros of the reopened file, layer by layer, with torch's; unless `exact`, rounding may have added some.

    Raises:
        StageError: a layer is missing in the file or has other zeros.
    """
    found = zeros_by_tensor(path)
    for name, (wanted, size) in expected.items():
        zeros, elements = found.get(name, (0, 0))
        if elements != size or zeros < wanted or (exact and zeros > wanted):
            raise StageError(
                f"torch has {(wanted, size)} (zeros, elements), the file {found.get(name)}", where=f"{path}: {name}"
            )
    return {name: {"zeros": zeros, "elements": elements} for name, (zeros, elements) in expected.items()}


def _torch_batches(
    model: PreTrainedModel, rows: TokenizedSplit, collator: Collator, tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[dict[str, NDArray[np.int64]], NDArray[np.float32]]]:
    """Real batches with torch's logits: shortest, middle and longest rows, at several batch sizes."""
    import torch

    names = [name for name in tokenizer.model_input_names if name in ("input_ids", "attention_mask", "token_type_ids")]
    by_length = sorted(range(len(rows)), key=lambda index: len(rows[index]["input_ids"]))
    model.eval()
    for size in VERIFIED_BATCH_SIZES:
        last = max(0, len(by_length) - size)
        # The mixed batch pads short rows beside long ones.
        mixed = by_length[:: max(1, len(by_length) // size)][:size]
        for chosen in (by_length[:size], by_length[last // 2 :][:size], by_length[last:], mixed):
            inputs = model_inputs(rows, chosen, collator, names)
            with torch.inference_mode():
                logits = model(**{name: torch.from_numpy(value) for name, value in inputs.items()}).logits
            yield inputs, logits.float().numpy()


def _manifest(
    recipe: Recipe,
    run: RunFolder,
    records: list[TensorRecord],
    layers: dict[str, dict[str, int]],
    metrics: dict[str, Any],
) -> dict[str, Any]:
    finetune = read_json(run.stage("1-finetune") / STAGE_FILE) or {}
    return {
        "sdp": sdp.__version__,
        "recipe": shareable(recipe),
        "inputs": finetune["ingredients"]["inputs"],
        "versions": library_versions(("torch", "transformers", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxscript")),
        "max_length": recipe.data.max_length,
        "problem_type": recipe.task.problem_type,
        "text_columns": len(resolve_source(recipe).text),
        "layers": layers,
        "tensors": [
            {"name": r.name, "shape": list(r.shape), "encoding": r.encoding, "zeros": r.zeros, "bytes": r.bytes}
            for r in records
        ],
        "metrics": {name: metrics[name] for name in ("split", "metric", "models", "drop", "also", "torch")},
    }

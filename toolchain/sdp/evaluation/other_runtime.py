"""The dense model in another runtime than onnxruntime, as `bench.runtime` names it: its file, and its score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from sdp.data.batches import Collator
from sdp.evaluation.on_split import compare_models
from sdp.evaluation.predict import model_inputs, onnx_network, predict_logits
from sdp.models.tokenizer import saved_tokenizer
from sdp.pipeline.artifacts.latency import DenseRuntime
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.stages import EVALUATE, FINETUNE
from sdp.recipe.sections import Recipe
from sdp.stages.evaluate import PREDICTIONS
from sdp.training.inputs import finetuned_data, tokenize_split
from sdp_onnx.bench.cases import Case
from sdp_onnx.deploy.verify import relative_error
from sdp_onnx.errors import VerificationError
from sdp_onnx.runtimes.openvino_int8 import quantize
from sdp_onnx.runtimes.registry import RUNTIMES

# Training rows on which activations are measured, as many as NNCF takes by default.
CALIBRATION_ROWS = 300
# Where a CPU has instructions for bfloat16, OpenVINO computes a file in fp32 with them.
ALLOWED_ERROR = 0.1


def is_quantized(recipe: Recipe) -> bool:
    """Whether the dense model runs in int8 there, as the exported one does here."""
    return recipe.export.precision == "int8"


def dense_in(recipe: Recipe, run: RunFolder, dense: Path, names: list[str]) -> Path:
    """Return what the runtime runs of the dense model: its ONNX file, or an int8 model that is written beside it.

    Args:
        recipe: with bench.runtime = "openvino".
        run: with finished fine-tuning.
        dense: the dense ONNX file.
        names: its inputs.

    Raises:
        ProviderError: NNCF is not installed.
        BenchmarkError: NNCF fails.
    """
    if not is_quantized(recipe):
        return dense
    tokenizer = saved_tokenizer(run.stage(FINETUNE.folder))
    rows = tokenize_split(finetuned_data(recipe, run).train, tokenizer, recipe)
    chosen = np.random.default_rng(recipe.seed).permutation(len(rows))[:CALIBRATION_ROWS].tolist()
    batches = [model_inputs(rows, [row], Collator(tokenizer), names) for row in chosen]
    quantized = dense.with_name("int8.xml")
    quantize(dense, Case("calibration", 1, None, batches), quantized)
    return quantized


def score_dense(recipe: Recipe, run: RunFolder, file: Path, reporter: Reporter) -> DenseRuntime:
    """Score the dense model in the runtime on the evaluation split, and compare it with torch.

    Args:
        recipe: with bench.runtime = "openvino".
        run: with finished evaluation.
        file: of `dense_in`.
        reporter: shows progress.

    Raises:
        VerificationError: in fp32 its logits are not torch's.
    """
    runtime = RUNTIMES[recipe.bench.runtime]
    data = finetuned_data(recipe, run)
    split, tokenizer = data.evaluation(recipe.evaluate.split), saved_tokenizer(run.stage(FINETUNE.folder))
    rows = tokenize_split(split, tokenizer, recipe)
    network = onnx_network(runtime.load(file, threads=recipe.runtime.threads))
    with reporter.task(f"dense in {runtime.name}, tokens", rows.tokens) as task:
        logits = predict_logits(network, rows, Collator(tokenizer), recipe.evaluate.batch_size, task)
    torch = load_file(run.stage(EVALUATE.folder) / PREDICTIONS)["dense"]
    read = ~np.isnan(torch).any(axis=1)
    error = relative_error(torch[read], logits[read])
    if not is_quantized(recipe) and error > ALLOWED_ERROR:
        what = f"the dense model's logits in {runtime.name} differ from torch's by {error:.1e} of the largest"
        raise VerificationError(what, where="bench.runtime", hint='Measure with bench.runtime = "onnxruntime".')
    found = compare_models(recipe, data, split, rows, ("torch", torch), (runtime.name, logits))
    return DenseRuntime(
        name=recipe.bench.runtime,
        version=runtime.environment()["packages"][runtime.name],
        precision="int8" if is_quantized(recipe) else "fp32",
        score=found.models[runtime.name],
        relative_error=error,
    )

"""Make the exported file: torch to dense ONNX, encoded, reopened, and compared with torch."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

import sdp
from sdp.data.batches import Collator, TokenizedSplit
from sdp.errors import RunError, StageError
from sdp.evaluation.predict import model_inputs
from sdp.models.answerer import is_answerer
from sdp.models.embedder import is_embedder, settings_of
from sdp.models.int8_network import computing_in_int8
from sdp.models.layers import prunable_weights
from sdp.models.load import load_finetuned
from sdp.models.pooling import write_modules
from sdp.models.tokenizer import save_tokenizer
from sdp.pipeline.artifacts.base import Stored
from sdp.pipeline.artifacts.comparison import RelativeError
from sdp.pipeline.artifacts.manifest import TensorEntry
from sdp.pipeline.artifacts.pruning import LayerZeros, PruneMetrics
from sdp.pipeline.context import StageContext
from sdp.pipeline.files import write_json
from sdp.pipeline.run_folder import CHECKPOINTS, RunFolder, outputs_of
from sdp.pipeline.stages import PRUNE
from sdp.recipe.sections import Recipe
from sdp.recipe.shareable import shareable
from sdp_onnx.deploy.manifest import file_sha256
from sdp_onnx.deploy.tokenization import TextTokenizer
from sdp_onnx.deploy.verify import NOT_TO_SHIP, verify_logits, zeros_by_tensor
from sdp_onnx.export.encode import EncodingChoice, encode_model
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.model.linear_layers import equal_parameters
from sdp_onnx.model.model_file import TensorRecord, check_file, load_structure
from sdp_onnx.model.opset import oldest_onnxruntime
from sdp_onnx.operators.library import library_path
from sdp_onnx.runtimes.registry import default_runtime

MODEL_FILE = "model.onnx"
# Rows in one call while verifying; 1 is what a server sends most.
VERIFIED_BATCH_SIZES = (1, 2, 7)
# Hints for a file that differs from torch, by its precision.
_HINTS = {
    "fp32": NOT_TO_SHIP,
    "fp16": "A number in this network may be larger than half precision can hold, 65504: set export.precision = "
    '"fp32". With a larger export.tolerance a file with finite logits is written, and scored.',
    "int8": "Torch rounds here as the file does, and a network that is trained differs little: single roundings may "
    "decide the logits of this one. Prune less, or train after pruning (prune.steps). With a larger export.tolerance "
    "the file is written, and scored.",
}
_MADE = f"{CHECKPOINTS}/made.json"


class Exported(Stored):
    """The results of verifying the reopened file.

    Attributes:
        layers: of each pruned layer, zeros and elements.
        tensors: of each tensor, how it is stored, as the manifest has it.
        verified_rows: rows whose logits were compared with torch's.
        relative_error: the largest difference there, as a share of the largest logit.
        oldest_onnxruntime: the oldest release that reads the file; None where no known one does.
    """

    layers: dict[str, LayerZeros]
    tensors: tuple[TensorEntry, ...]
    verified_rows: int
    relative_error: RelativeError
    oldest_onnxruntime: str | None


class _Made(Stored):
    """What an interrupted attempt made: its files by hash, and what was found of them."""

    files: dict[str, str]
    exported: Exported


@dataclass(frozen=True)
class _Torch:
    """The reference for the exported file, kept after the model is freed.

    Attributes:
        zeros: of each pruned layer, zeros and elements.
        equal: of each pruned layer, the names under which the file may hold it, its own first.
        batches: inputs by name, and torch's logits for them.
    """

    zeros: dict[str, tuple[int, int]]
    equal: dict[str, tuple[str, ...]]
    batches: list[tuple[dict[str, NDArray[np.int64]], NDArray[np.float32]]]


def export_file(context: StageContext, tokenizer: TextTokenizer, rows: TokenizedSplit) -> Exported:
    """Make the file that is shipped, with what lies beside it, or take up the one that an interrupted attempt made.

    Args:
        context: of a run that is pruned; the file goes to its target, with the operator library, the tokenizer and
            config.json.
        tokenizer: the pruned model's.
        rows: some of them are given to torch and to the file.

    Raises:
        StageError: the file has other zeros than torch.
        VerificationError: its logits are further from torch's than `export.allowed_error`.
    """
    target = context.target
    before = _made_before(target)
    if before is not None and before.files.items() <= _hashes(target).items():
        context.reporter.line("  going on with the file of the interrupted attempt")
        return before.exported
    for path in outputs_of(target):
        path.unlink()
    # Logits of another file are removed too.
    shutil.rmtree(target / CHECKPOINTS, ignore_errors=True)
    exported = _make(context, tokenizer, rows)
    (target / CHECKPOINTS).mkdir()
    write_json(target / _MADE, _Made(files=_hashes(target), exported=exported).to_json())
    return exported


def _made_before(target: Path) -> _Made | None:
    """The record of an interrupted attempt; None without one, and where it cannot be used: the file is made again."""
    try:
        return _Made.read(target / _MADE)
    except RunError:
        return None


def _hashes(target: Path) -> dict[str, str]:
    return {str(path.relative_to(target)): file_sha256(path) for path in outputs_of(target)}


def _make(context: StageContext, tokenizer: TextTokenizer, rows: TokenizedSplit) -> Exported:
    recipe, run, target = context.recipe, context.run, context.target
    path = target / MODEL_FILE
    with _work_folder(target) as work:
        expected = _export_dense(recipe, run.stage(PRUNE.folder), tokenizer, rows, work)
        # Encoding, and onnxruntime after it, need as much memory as the model did, which is free by now.
        gc.collect()
        records = _encode(recipe, run, work / MODEL_FILE, path)
    if any(record.encoding == "kernel" for record in records):
        shutil.copy(library_path(), target)
    save_tokenizer(tokenizer, target)
    context.reporter.line("  verifying against torch")
    check_file(path)
    layers = _same_zeros(expected.zeros, expected.equal, path, exact=recipe.export.precision == "fp32")
    agreement = verify_logits(
        path,
        expected.batches,
        tolerance=recipe.export.allowed_error,
        provider=recipe.export_provider,
        threads=recipe.runtime.threads,
        hint=_HINTS[recipe.export.precision],
    )
    return Exported(
        layers=layers,
        tensors=tuple(
            TensorEntry(name=r.name, shape=r.shape, encoding=r.encoding, zeros=r.zeros, bytes=r.bytes) for r in records
        ),
        verified_rows=agreement.rows,
        relative_error=agreement.relative_error,
        oldest_onnxruntime=oldest_onnxruntime(load_structure(path)),
    )


@contextmanager
def _work_folder(target: Path) -> Iterator[Path]:
    """Create a folder for the dense file, which is removed at the end of the block."""
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
    tokenizer: TextTokenizer,
    rows: TokenizedSplit,
    work: Path,
) -> _Torch:
    """Write the dense file and the model's config.json, and record the model's logits and zeros.

    In int8 the logits are of the network that rounds as the file does: compared with those of another one, a right file
    could not be distinguished from a wrong one where logits are near zero. In fp16 they are of the network in fp32.

    The model ends with the function.
    """
    model = load_finetuned(source)
    model.config.save_pretrained(work.parent)
    if is_embedder(model.config):
        settings = settings_of(model.config)
        write_modules(work.parent, size=model.config.hidden_size, max_length=recipe.data.max_length, settings=settings)
    weights = prunable_weights(model)
    zeros = {name: (int((weight == 0).sum()), weight.numel()) for name, weight in weights.items()}
    equal = equal_parameters({name: weight.detach().cpu().numpy for name, weight in weights.items()})
    with computing_in_int8(model, recipe.export.precision == "int8"):
        batches = list(_torch_batches(model, rows, tokenizer))
    if recipe.export.precision == "fp16":
        model.half()
    export_torch(
        model,
        work / MODEL_FILE,
        input_names=tokenizer.inputs,
        opset=recipe.export.opset,
        # Weights outside the file are read one by one, so that encoding never holds all of them.
        external_data_threshold=0,
        kind="vectors" if is_embedder(model.config) else "spans" if is_answerer(model) else "logits",
    )
    return _Torch(zeros, equal, batches)


def _encode(recipe: Recipe, run: RunFolder, dense: Path, path: Path) -> list[TensorRecord]:
    metadata = {
        "sdp.version": sdp.__version__,
        "sdp.recipe": json.dumps(shareable(recipe), sort_keys=True),
        "sdp.layers": json.dumps(PruneMetrics.load(run).to_json()["layers"]),
    }
    return encode_model(
        dense,
        path,
        encoding=_encoding(recipe),
        precision=recipe.export.kernel_precision,
        metadata=metadata,
        external_data_threshold=recipe.export.external_data_mb * 10**6,
    )


def _encoding(recipe: Recipe) -> EncodingChoice:
    """Return the recipe's encoding, or the best one that this installation can run.

    Raises:
        OperatorLibraryError: the recipe asks for the operator library, and this installation has none.
    """
    if recipe.export.encoding == "kernel" or recipe.export.precision == "int8":
        library_path()
    if recipe.export.may_use_library and default_runtime().capabilities.operator_library:
        return "kernel"
    return recipe.export.encoding


def _same_zeros(
    expected: dict[str, tuple[int, int]], equal: dict[str, tuple[str, ...]], path: Path, *, exact: bool
) -> dict[str, LayerZeros]:
    """Compare zeros of the reopened file, layer by layer, with torch's; unless `exact`, rounding may have added some.

    Raises:
        StageError: a layer is missing in the file or has other zeros.
    """
    found = zeros_by_tensor(path)
    for name, (wanted, size) in expected.items():
        zeros, elements = next((found[other] for other in equal[name] if other in found), (0, 0))
        if elements != size or zeros < wanted or (exact and zeros > wanted):
            raise StageError(
                f"torch has {(wanted, size)} (zeros, elements), the file {(zeros, elements)}", where=f"{path}: {name}"
            )
    return {name: LayerZeros(zeros=zeros, elements=elements) for name, (zeros, elements) in expected.items()}


def _torch_batches(
    model: PreTrainedModel, rows: TokenizedSplit, tokenizer: TextTokenizer
) -> Iterator[tuple[dict[str, NDArray[np.int64]], NDArray[np.float32]]]:
    """Real batches with torch's logits: shortest, middle and longest rows, at several batch sizes."""
    import torch

    by_length = sorted(range(len(rows)), key=lambda index: len(rows[index]["input_ids"]))
    model.eval()
    for size in VERIFIED_BATCH_SIZES:
        last = max(0, len(by_length) - size)
        # The mixed batch pads short rows beside long ones.
        mixed = by_length[:: max(1, len(by_length) // size)][:size]
        for chosen in (by_length[:size], by_length[last // 2 :][:size], by_length[last:], mixed):
            inputs = model_inputs(rows, chosen, Collator(tokenizer), tokenizer.inputs)
            with torch.inference_mode():
                logits = model(**{name: torch.from_numpy(value) for name, value in inputs.items()}).logits
            yield inputs, logits.float().numpy()

"""Shrink a model file: prune it, encode it for the operator library, compare and measure it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

from sdp.errors import ModelError, StageError, UsageError
from sdp.pipeline.progress import Reporter
from sdp.shrink.artifacts import Agreement, ShrinkReport
from sdp.shrink.compare import LOGITS, agreement, first_outputs
from sdp.shrink.layers import LayerGroup, layer_groups
from sdp.shrink.prune import prune_graph
from sdp.shrink.samples import Samples, read_samples, usable_inputs
from sdp_onnx.bench.cases import Case
from sdp_onnx.bench.pair import benchmark_pair
from sdp_onnx.deploy.tokenization import TOKENIZER_FILE, TextTokenizer
from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.kernel_choice import Precision
from sdp_onnx.export.pieces import PiecewiseRun
from sdp_onnx.model.graph_index import has_subgraphs
from sdp_onnx.model.model_file import StoredTensor, check_file, load_structure, stored_tensors
from sdp_onnx.model.writer import PROTOBUF_LIMIT, message_entry, write_model
from sdp_onnx.operators.library import DOMAIN, has_library, library_path
from sdp_onnx.runtimes.registry import default_runtime

MODEL_FILE = "model.onnx"
_PRUNED = "pruned.onnx"
COMPARED_ROWS = 256
TIMED_ROWS = 64


@dataclass(frozen=True)
class Shrink:
    """What is asked for.

    Attributes:
        model: the file.
        texts: a file of texts of the kind that it reads.
        columns: of the texts, where they are in a table.
        tokenizer: the folder of its tokenizer.json.
        out: the folder to make.
        sparsity: share of each matrix that becomes zero.
        pattern: which weights may.
        precision: of the products.
        rows: texts that the layers are measured on.
        max_length: tokens to which texts are cut.
        seed: of the draw of texts.
        threads: of the benchmark.
        min_same: smallest share of equal predictions; None where any is good enough.
    """

    model: Path
    texts: Path
    columns: tuple[str, ...]
    tokenizer: Path
    out: Path
    sparsity: float
    pattern: Literal["1x4", "unstructured"]
    precision: Precision
    rows: int
    max_length: int
    seed: int
    threads: int
    min_same: float | None


def shrink(asked: Shrink, reporter: Reporter) -> ShrinkReport:
    """Make the new file; what the folder holds is complete, or not there.

    Raises:
        UsageError: file, texts or folder cannot be used.
        FailedError: the new file is damaged, or the disk is full.
    """
    if asked.out.exists():
        raise UsageError("it exists already", where=f"--out {asked.out}", hint="Name another folder, or remove it.")
    if asked.precision == "int8":
        library_path()
    model, tensors, groups = _read(asked.model)
    loaded = default_runtime().load(asked.model, library="none")
    if not usable_inputs(loaded.input_names):
        what = f"its inputs are {', '.join(loaded.input_names)}: a tokenizer makes others"
        raise ModelError(
            what, where=str(asked.model), hint="Give a Transformer encoder with input_ids, attention_mask."
        )
    tokenizer = TextTokenizer.read(asked.tokenizer, loaded.input_names)
    tokenizer.cut_at(asked.max_length)
    samples = read_samples(asked.texts, asked.columns, tokenizer, asked.rows, COMPARED_ROWS, asked.seed)
    compared = samples.batches(samples.compared)
    name, before = first_outputs(loaded, compared)
    if asked.min_same is not None and name != LOGITS:
        what = f'its output is "{name}", and predictions are those of "{LOGITS}"'
        raise UsageError(what, where="--min-same", hint="Leave it out.")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=asked.out.parent, prefix=f".{asked.out.name}-") as temporary:
        work, made = Path(temporary), Path(temporary) / "made"
        made.mkdir()
        zeros = _prune(asked, model, tensors, groups, samples, work, reporter)
        reporter.line("  encoding")
        _encode(asked, work / _PRUNED, made)
        _, after = first_outputs(default_runtime().load(made / MODEL_FILE), compared)
        if not np.isfinite(after).all():
            raise StageError("the new file gives numbers that are not finite", where=str(asked.model))
        found = agreement(name, before, after, len(samples.compared))
        _require_same(asked, found)
        reporter.line("  measuring both files in turns")
        bench = benchmark_pair(asked.model, made / MODEL_FILE, [_case(samples)], threads=[asked.threads], starts=3)
        (case,) = bench.cases
        report = ShrinkReport(
            model=asked.model.name,
            sparsity=asked.sparsity,
            pattern=asked.pattern,
            precision=asked.precision,
            measured_rows=len(samples.measured),
            layers=sum(len(group.layers) for group in groups),
            zeros=zeros,
            agreement=found,
            original_bytes=bench.baseline_bytes,
            bytes=bench.candidate_bytes,
            threads=asked.threads,
            original_ms=case.baseline.p50_ms,
            ms=case.candidate.p50_ms,
            speedup=case.speedup,
            quiet=bench.quiet,
        )
        report.store(made)
        made.rename(asked.out)
    return report


def _read(path: Path) -> tuple[ModelProto, dict[str, StoredTensor], tuple[LayerGroup, ...]]:
    """The structure of a file, with the shapes of its values, its initializers, and its layers.

    Raises:
        UsageError: it cannot be pruned.
    """
    check_file(path)
    model = load_structure(path)
    where = str(path)
    if any(node.domain == DOMAIN for node in model.graph.node):
        raise ModelError("it has operators of the library already", where=where, hint="Give the dense file.")
    if has_subgraphs(model.graph.node):
        raise ModelError("it has control flow (If, Loop or Scan)", where=where, hint="Export it without.")
    tensors = {stored.name: stored for stored in stored_tensors(model, path)}
    # Exporters may leave out the shapes of values, by which layers on tokens are recognized.
    model = onnx.shape_inference.infer_shapes(model)
    groups = layer_groups(model, tensors)
    if not groups:
        what = "no linear layers on tokens are found: MatMul of [batch, tokens, features] with a float32 matrix"
        raise ModelError(what, where=where, hint="Give the float32 file of a Transformer encoder, not a quantized one.")
    return model, tensors, groups


def _prune(
    asked: Shrink,
    model: ModelProto,
    tensors: Mapping[str, StoredTensor],
    groups: Sequence[LayerGroup],
    samples: Samples,
    work: Path,
    reporter: Reporter,
) -> float:
    """Write the pruned file, dense, and return the share of zeros in its layers."""
    batches = samples.batches(samples.measured)
    dense, pruned = (
        PiecewiseRun(model, tensors, [dict(batch) for batch in batches], default_runtime(), work) for _ in range(2)
    )
    if asked.sparsity:
        prune_graph(dense, pruned, groups, batches, asked.sparsity, asked.pattern, reporter)
    skeleton = ModelProto()
    skeleton.CopyFrom(model)
    skeleton.graph.ClearField("initializer")
    skeleton.graph.ClearField("sparse_initializer")
    changed = pruned.weights
    entries = [
        message_entry(numpy_helper.from_array(changed[name], name) if name in changed else stored.inline_message())
        for name, stored in tensors.items()
    ]
    write_model(skeleton, entries, work / _PRUNED, external_data_threshold=PROTOBUF_LIMIT)
    zeros = sum(weight.size - int(np.count_nonzero(weight)) for weight in changed.values() if weight.ndim == 2)
    return zeros / sum(tensors[layer.weight].elements for group in groups for layer in group.layers)


def _encode(asked: Shrink, pruned: Path, made: Path) -> None:
    """Write the new file, and what it needs, into a folder."""
    records = encode_model(
        pruned,
        made / MODEL_FILE,
        encoding="kernel" if has_library() else "auto",
        precision=asked.precision,
        metadata={},
    )
    check_file(made / MODEL_FILE)
    if any(record.encoding == "kernel" for record in records):
        shutil.copy(library_path(), made)
    shutil.copy(asked.tokenizer / TOKENIZER_FILE, made)


def _require_same(asked: Shrink, found: Agreement) -> None:
    """Require as many equal predictions as were asked for.

    Raises:
        StageError: there are fewer.
    """
    if asked.min_same is None or found.same_predictions is None or found.same_predictions >= asked.min_same:
        return
    what = f"{found.same_predictions:.1%} of the predictions are equal, and --min-same is {asked.min_same:.1%}"
    raise StageError(what, where=str(asked.model), hint="Lower --sparsity, or give more --rows.")


def _case(samples: Samples) -> Case:
    """Rows that were not fitted to, one at a time, at their own lengths."""
    batches = [samples.tokenizer.pad([row]) for row in samples.compared[:TIMED_ROWS]]
    return Case("1 x task", 1, None, batches)

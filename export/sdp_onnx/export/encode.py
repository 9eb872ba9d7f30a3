"""Encode a dense ONNX file: every weight in the smallest form that onnxruntime loads.

onnxruntime expands COO initializers to dense tensors while it builds the graph, whatever operator reads them (MatMul,
Gemm, Gather, LayerNormalization), so a COO file is smaller on disk and runs as fast and as large as the dense one.
Encode last: graph optimizers drop or ignore sparse initializers.

`onnx.checker.check_model(path)` accepts the result. `full_check=True` cannot: onnx's shape inference gives a sparse
initializer the type sparse_tensor without a shape, and the operators' own inference then rejects it ("type case
mismatch", "input tensors of wrong rank"). Dropping the value_info of these names removes the first message only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from onnx import ModelProto, TensorProto, helper

from sdp_onnx.export.kernel_choice import Precision
from sdp_onnx.export.kernel_graph import KernelGraph, rewrite_graph
from sdp_onnx.model.encodings import (
    Encoding,
    coo_bytes,
    dense_bytes,
    is_plain,
    itemsize_of,
    smallest_encoding,
    split_coo,
)
from sdp_onnx.model.model_file import StoredTensor, TensorRecord, check_file, load_structure, stored_tensors
from sdp_onnx.model.opset import declare_lowest
from sdp_onnx.model.writer import (
    PROTOBUF_LIMIT,
    Entry,
    coo_entry,
    dense_entry,
    external_data_path,
    inside_bytes,
    message_entry,
    write_model,
)
from sdp_onnx.operators.weight_formats import NewTensor

EncodingChoice = Literal["auto", "dense", "coo", "kernel"]

# Zero means "pruned" only for these types: an unsigned quantized tensor has another zero point.
_ENCODABLE = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT8)

# In smaller tensors name and shape take as much as the content.
_SMALLEST_COO = 1024

# Smallest share of zeros of a sparse tensor for `coo`, above that of an embedding with one zero row for padding.
SPARSE_FROM = 0.5


@dataclass(frozen=True)
class _Plan:
    """The planned encoding of one initializer."""

    stored: StoredTensor
    record: TensorRecord

    def encoded(self, encoding: Encoding) -> _Plan:
        """Return the plan with another encoding and its size."""
        itemsize = itemsize_of(self.stored.data_type)
        if encoding == "coo":
            size = coo_bytes(self.record.elements - self.record.zeros, itemsize)
        else:
            size = dense_bytes(self.record.elements, itemsize)
        return replace(self, record=replace(self.record, encoding=encoding, bytes=size))

    def entry(self) -> Entry:
        stored, record = self.stored, self.record
        if not is_plain(stored.data_type):
            return message_entry(stored.inline_message())
        if record.encoding == "dense":
            return dense_entry(stored.name, stored.data_type, stored.shape, record.bytes, lambda: (stored.array(),))
        nonzeros = record.elements - record.zeros
        return coo_entry(stored.name, stored.data_type, stored.shape, nonzeros, lambda: split_coo(stored.array()))


def encode_model(
    source: Path,
    target: Path,
    *,
    encoding: EncodingChoice,
    precision: Precision = "fp32",
    metadata: Mapping[str, str],
    external_data_threshold: int = PROTOBUF_LIMIT,
) -> list[TensorRecord]:
    """Write `source` to `target`, in a folder that exists, with its weights encoded and `metadata` added.

    The file declares the lowest operator set that it needs (see opset.py).

    Args:
        encoding: `auto`: per float or int8 tensor of at least 1 KiB whatever is smaller. `coo`: COO for each such
            tensor of two or more dimensions of which at least half is zero, even where that is larger. `dense`: none.
            `kernel`: sparse linear layers for the operator library (see kernel_graph.py), `auto` for all else; a
            file without such layers comes out as with `auto`.
        precision: with `kernel`, the arithmetic of the linear layers, and how embedding tables are stored.
        metadata: added to the file's metadata_props; existing keys are replaced.
        external_data_threshold: bytes of the .onnx file above which dense tensors move to `<target>.data`. COO
            tensors cannot move; if they alone exceed the threshold, the largest are stored dense after all.

    Returns:
        A record of each initializer as written, and of each weight inside an operator of the library under its name.

    Raises:
        ModelFileError: the source is missing, damaged, or rejected by the ONNX checker.
    """
    # Rewriting relies on the standard's number of inputs and order of nodes.
    check_file(source)
    model = load_structure(source)
    tensors = {stored.name: stored for stored in stored_tensors(model, source)}
    kernels = rewrite_graph(model, tensors, precision) if encoding == "kernel" else KernelGraph()
    declare_lowest(model)
    choice = "auto" if encoding == "kernel" else encoding
    fixed = {value.name for value in model.graph.input}
    plans = [
        _plan(stored, "dense" if stored.name in fixed else choice)
        for stored in tensors.values()
        if stored.name not in kernels.replaced
    ]
    kernel_entries = [_new_entry(tensor) for tensor in kernels.tensors]

    # The messages in `tensors` stay valid: protobuf keeps a removed message while it is referenced.
    model.graph.ClearField("initializer")
    model.graph.ClearField("sparse_initializer")
    helper.set_model_props(model, {entry.key: entry.value for entry in model.metadata_props} | dict(metadata))
    plans = _fit(model, plans, kernel_entries, external_data_path(target).name, external_data_threshold)
    _forget_types(model, {plan.record.name for plan in plans if plan.record.encoding == "coo"})
    entries = [*(plan.entry() for plan in plans), *kernel_entries]
    write_model(model, entries, target, external_data_threshold=external_data_threshold)
    contained = [_contained_record(tensors[name], size) for name, size in kernels.contained.items()]
    return [plan.record for plan in plans] + contained


def _new_entry(tensor: NewTensor) -> Entry:
    size = dense_bytes(math.prod(tensor.shape), itemsize_of(tensor.data_type))
    return dense_entry(tensor.name, tensor.data_type, tensor.shape, size, lambda: (tensor.load(),))


def _contained_record(stored: StoredTensor, size: int) -> TensorRecord:
    return replace(stored.record(), encoding="kernel", bytes=size)


def _plan(stored: StoredTensor, choice: EncodingChoice) -> _Plan:
    plan = _Plan(stored, stored.record())
    return plan.encoded(_choose(plan.record, choice, stored.data_type)) if is_plain(stored.data_type) else plan


def _choose(record: TensorRecord, choice: EncodingChoice, data_type: int) -> Encoding:
    itemsize = itemsize_of(data_type)
    if choice == "dense" or data_type not in _ENCODABLE or dense_bytes(record.elements, itemsize) < _SMALLEST_COO:
        return "dense"
    if choice == "coo":
        return "coo" if len(record.shape) >= 2 and record.sparsity >= SPARSE_FROM else "dense"
    return smallest_encoding(record.elements, record.elements - record.zeros, itemsize)


def _fit(
    skeleton: ModelProto, plans: Sequence[_Plan], others: Sequence[Entry], location: str, threshold: int
) -> list[_Plan]:
    """Make the largest COO tensors dense until the content that must stay in the file is below the threshold."""
    plans = list(plans)
    entries = [plan.entry() for plan in plans]
    if inside_bytes(skeleton, [*entries, *others], location=None) <= threshold:
        return plans
    largest_first = sorted(
        (index for index, plan in enumerate(plans) if plan.record.encoding == "coo"),
        key=lambda index: plans[index].record.bytes,
        reverse=True,
    )
    for index in largest_first:
        if inside_bytes(skeleton, [*entries, *others], location=location) <= threshold:
            break
        plans[index] = plans[index].encoded("dense")
        entries[index] = plans[index].entry()
    return plans


def _forget_types(model: ModelProto, names: set[str]) -> None:
    """Drop the recorded types of COO initializers, which shape inference would reject."""
    kept = [value for value in model.graph.value_info if value.name not in names]
    model.graph.ClearField("value_info")
    model.graph.value_info.extend(kept)

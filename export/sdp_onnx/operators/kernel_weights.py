"""Read the parameters back that a rewritten graph holds inside the operators of the library."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from sdp_onnx.errors import ModelFileError
from sdp_onnx.model.encodings import itemsize_of
from sdp_onnx.model.graph_index import attributes
from sdp_onnx.model.model_file import StoredTensor, TensorRecord
from sdp_onnx.operators.library import DOMAIN
from sdp_onnx.operators.sparse_format import SparseWeight, unpack_sparse


def kernel_weights(model: ModelProto, initializers: Mapping[str, StoredTensor]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Name and float32 array [in_features, out_features] of each parameter inside a linear operator.

    Raises:
        ModelFileError: an operator's tensors are missing or contradict each other.
    """
    for node in model.graph.node:
        if node.domain != DOMAIN or node.op_type not in _READERS:
            continue
        try:
            settings = attributes(node)
            names = [name.decode() for name in settings["weights"]]
            _check_sizes(node, settings, names, initializers)
            weight = _READERS[node.op_type](node, settings, initializers)
            parts = np.split(weight, np.cumsum(settings["widths"])[:-1])
        except ModelFileError:
            raise
        except Exception as error:  # an operator's tensors and attributes may contradict each other in any way
            raise _unreadable(node, f"{type(error).__name__}: {error}") from error
        yield from ((name, part.T) for name, part in zip(names, parts, strict=True))


def _check_sizes(
    node: NodeProto, settings: Mapping[str, Any], names: Sequence[str], initializers: Mapping[str, StoredTensor]
) -> None:
    """See that a weight is as large as its parts, and not so large that few bytes stand for more than memory holds."""
    rows, columns, widths = settings["out_features"], settings["in_features"], list(settings["widths"])
    if not names or len(set(names)) < len(names) or len(widths) != len(names):
        raise _unreadable(node, f"{len(names)} names and {len(widths)} widths of its parts")
    if min(rows, columns, *widths) < 1 or sum(widths) != rows:
        raise _unreadable(node, f"{rows} x {columns}, in parts of {widths}")
    held = sum(_held(initializers[name]) for name in _holders_of(node))
    # A row without any value takes a byte for each slice of 256 columns, or of 256 blocks of four.
    if rows * columns > 1024 * held:
        raise _unreadable(node, f"{held} bytes cannot hold {rows} x {columns}")


def _held(stored: StoredTensor) -> int:
    return stored.elements * itemsize_of(stored.data_type)


def _holders_of(node: NodeProto) -> list[str]:
    return list(node.input[1 : 1 + _HOLDERS[node.op_type]])


def _unreadable(node: NodeProto, why: str) -> ModelFileError:
    return ModelFileError(
        f"the weights of an operator cannot be read: {why}", where=node.name, hint="Export the file again."
    )


def kernel_records(model: ModelProto, initializers: Mapping[str, StoredTensor]) -> tuple[list[TensorRecord], set[str]]:
    """A record of each parameter inside a linear operator, and the names of the initializers that hold them.

    Raises:
        ModelFileError: as `kernel_weights`.
    """
    counted = {name: (array.shape, int(np.count_nonzero(array))) for name, array in kernel_weights(model, initializers)}
    # After they were read, which tells what is wrong with them.
    holders: dict[str, set[str]] = {}
    for node in model.graph.node:
        if node.domain == DOMAIN and node.op_type in _READERS:
            holders |= {name.decode(): set(_holders_of(node)) for name in attributes(node)["weights"]}
    records = []
    for name, (shape, nonzeros) in counted.items():
        held = sum(initializers[holder].record().bytes for holder in holders[name])
        together = sum(counted[other][1] for other in holders if holders[other] == holders[name])
        records.append(
            TensorRecord(
                name=name,
                shape=shape,
                dtype=_dtype(initializers, holders[name]),
                elements=math.prod(shape),
                zeros=math.prod(shape) - nonzeros,
                encoding="kernel",
                bytes=held * nonzeros // max(1, together),
            )
        )
    return records, set().union(*holders.values())


def _dtype(initializers: Mapping[str, StoredTensor], holders: set[str]) -> str:
    """The element type of a weight, by the initializer of its values; of any of them in a file of other names."""
    content = sorted(name for name in holders if name.endswith(_CONTENT)) or sorted(holders)
    return initializers[content[0]].record().dtype


def _sparse(node: NodeProto, settings: Mapping[str, Any], initializers: Mapping[str, StoredTensor]) -> NDArray[Any]:
    values, columns, rows, widths = (initializers[name].array() for name in node.input[1:5])
    return unpack_sparse(
        SparseWeight(
            settings["out_features"],
            settings["in_features"],
            settings["slice"],
            settings["block"],
            values,
            columns,
            rows,
            widths,
        )
    )


def _dense(node: NodeProto, settings: Mapping[str, Any], initializers: Mapping[str, StoredTensor]) -> NDArray[Any]:
    grouped = initializers[node.input[1]].array()
    return grouped.transpose(0, 2, 1).reshape(settings["out_features"], settings["in_features"])


def _sparse_int8(
    node: NodeProto, settings: Mapping[str, Any], initializers: Mapping[str, StoredTensor]
) -> NDArray[Any]:
    scale = initializers[node.input[5]].array()
    return np.asarray(_sparse(node, settings, initializers) * scale[:, None])


def _dense_int8(node: NodeProto, settings: Mapping[str, Any], initializers: Mapping[str, StoredTensor]) -> NDArray[Any]:
    grouped, scale = (initializers[name].array() for name in node.input[1:3])
    weight = grouped.transpose(0, 2, 1, 3).reshape(settings["out_features"], settings["in_features"])
    return np.asarray(weight * scale[:, None])


_READERS = {
    "SparseLinear": _sparse,
    "SparseLinearInt8": _sparse_int8,
    "DenseLinear": _dense,
    "DenseLinearInt8": _dense_int8,
}

# The initializer that tells a weight's element type.
_CONTENT = ("/values", "/grouped")

# Initializers that hold the weight, after the first input.
_HOLDERS = {"SparseLinear": 4, "SparseLinearInt8": 5, "DenseLinear": 1, "DenseLinearInt8": 2}

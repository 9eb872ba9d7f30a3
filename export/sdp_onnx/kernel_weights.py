"""Read the parameters back that a rewritten graph holds inside the operators of the library."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from sdp_onnx.errors import ModelFileError
from sdp_onnx.graph_index import attributes
from sdp_onnx.model_file import StoredTensor, TensorRecord
from sdp_onnx.operator_library import DOMAIN
from sdp_onnx.sparse_format import SparseWeight, unpack_sparse


def kernel_weights(model: ModelProto, initializers: Mapping[str, StoredTensor]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Name and float32 array [in_features, out_features] of each parameter inside a linear operator.

    Raises:
        ModelFileError: an operator's tensors are missing or contradict each other.
    """
    for node in model.graph.node:
        if node.domain != DOMAIN or node.op_type not in _READERS:
            continue
        settings = attributes(node)
        try:
            weight = _READERS[node.op_type](node, settings, initializers)
            names = [name.decode() for name in settings["weights"]]
            parts = np.split(weight, np.cumsum(settings["widths"])[:-1])
        except (KeyError, IndexError, ValueError) as error:
            raise ModelFileError(
                f"the weights of an operator cannot be read: {error}", where=node.name, hint="Export the file again."
            ) from error
        yield from ((name, part.T) for name, part in zip(names, parts, strict=True))


def kernel_records(model: ModelProto, initializers: Mapping[str, StoredTensor]) -> tuple[list[TensorRecord], set[str]]:
    """A record of each parameter inside a linear operator, and the names of the initializers that hold them.

    Raises:
        ModelFileError: as `kernel_weights`.
    """
    holders: dict[str, set[str]] = {}
    for node in model.graph.node:
        if node.domain == DOMAIN and node.op_type in _READERS:
            names = [name.decode() for name in attributes(node).get("weights", [])]
            holders |= {name: set(node.input[1 : 1 + _HOLDERS[node.op_type]]) for name in names}
    counted = {name: (array.shape, int(np.count_nonzero(array))) for name, array in kernel_weights(model, initializers)}
    records = []
    for name, (shape, nonzeros) in counted.items():
        held = sum(initializers[holder].record().bytes for holder in holders[name])
        together = sum(counted[other][1] for other in holders if holders[other] == holders[name])
        records.append(
            TensorRecord(
                name=name,
                shape=shape,
                dtype=next(initializers[h].record().dtype for h in holders[name] if h.endswith(_CONTENT)),
                elements=math.prod(shape),
                zeros=math.prod(shape) - nonzeros,
                encoding="kernel",
                bytes=held * nonzeros // max(1, together),
            )
        )
    return records, set().union(*holders.values())


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

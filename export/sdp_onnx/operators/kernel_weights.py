"""Read the parameters inside the library's operators of a rewritten graph."""

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
from sdp_onnx.operators.table import operator_of


def kernel_weights(model: ModelProto, initializers: Mapping[str, StoredTensor]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the name and float32 array [in_features, out_features] of each parameter inside a linear operator.

    Raises:
        ModelFileError: an operator's tensors are missing or contradict each other.
    """
    for node in model.graph.node:
        operator = operator_of(node)
        if operator is None or operator.weight is None:
            continue
        try:
            settings = attributes(node)
            names = [name.decode() for name in settings["weights"]]
            holders = [initializers[name] for name in operator.weight_initializers(node)]
            _check_sizes(node, settings, names, holders)
            weight = operator.weight.read([holder.array() for holder in holders], settings)
            parts = np.split(weight, np.cumsum(settings["widths"])[:-1])
        except ModelFileError:
            raise
        except Exception as error:  # an operator's tensors and attributes may contradict each other in any way
            raise _unreadable(node, f"{type(error).__name__}: {error}") from error
        yield from ((name, part.T) for name, part in zip(names, parts, strict=True))


def _check_sizes(
    node: NodeProto, settings: Mapping[str, Any], names: Sequence[str], holders: Sequence[StoredTensor]
) -> None:
    """Check that a weight has the size of its parts, and is not too large for the number of bytes."""
    rows, columns, widths = settings["out_features"], settings["in_features"], list(settings["widths"])
    if not names or len(set(names)) < len(names) or len(widths) != len(names):
        raise _unreadable(node, f"{len(names)} names and {len(widths)} widths of its parts")
    if min(rows, columns, *widths) < 1 or sum(widths) != rows:
        raise _unreadable(node, f"{rows} x {columns}, in parts of {widths}")
    held = sum(holder.elements * itemsize_of(holder.data_type) for holder in holders)
    # An empty row takes a byte for each slice of 256 columns, or of 256 blocks of four.
    if rows * columns > 1024 * held:
        raise _unreadable(node, f"{held} bytes cannot hold {rows} x {columns}")


def _unreadable(node: NodeProto, why: str) -> ModelFileError:
    return ModelFileError(
        f"the weights of an operator cannot be read: {why}", where=node.name, hint="Export the file again."
    )


def kernel_records(model: ModelProto, initializers: Mapping[str, StoredTensor]) -> tuple[list[TensorRecord], set[str]]:
    """Return a record of each parameter inside a linear operator, and the names of their initializers.

    Raises:
        ModelFileError: as `kernel_weights`.
    """
    counted = {name: (array.shape, int(np.count_nonzero(array))) for name, array in kernel_weights(model, initializers)}
    # After reading them, which reports errors. Each once, in the order of the inputs.
    holders: dict[str, tuple[str, ...]] = {}
    for node in model.graph.node:
        operator = operator_of(node)
        if operator is not None and operator.weight is not None:
            own = tuple(dict.fromkeys(operator.weight_initializers(node)))
            holders |= {name.decode(): own for name in attributes(node)["weights"]}
    records = []
    for name, (shape, nonzeros) in counted.items():
        held = sum(initializers[holder].record().bytes for holder in holders[name])
        together = sum(counted[other][1] for other in holders if holders[other] == holders[name])
        records.append(
            TensorRecord(
                name=name,
                shape=shape,
                # The first initializer holds the values, the others positions or scales.
                dtype=initializers[holders[name][0]].record().dtype,
                elements=math.prod(shape),
                zeros=math.prod(shape) - nonzeros,
                encoding="kernel",
                bytes=held * nonzeros // max(1, together),
            )
        )
    return records, set().union(*holders.values())

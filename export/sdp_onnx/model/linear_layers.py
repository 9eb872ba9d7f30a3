"""Find the linear layers of a file: the multiplying node, its parameters and their nonzeros."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from sdp_onnx.export.kernel_choice import break_even
from sdp_onnx.model.graph_index import attributes
from sdp_onnx.model.model_file import StoredTensor, load_structure, stored_tensors
from sdp_onnx.operators.kernel_weights import kernel_weights
from sdp_onnx.operators.table import operator_of
from sdp_onnx.operators.weight_formats import LayerKind


@dataclass(frozen=True)
class LinearLayer:
    """A node that multiplies by parameters.

    Attributes:
        weights: its parameters, stacked along out_features in this order.
        kind: the product that runs.
        in_library: whether it is an operator of the library rather than of onnxruntime.
        nonzeros: number of nonzero weights.
        filled: share of the elements of the sparse format that hold a nonzero: of the weights or, in int8, of the 1x4
            blocks along in_features. The exporter compares it with `break_even`.
        first_tokens: whether it multiplies the first token of each text alone.
    """

    weights: tuple[str, ...]
    kind: LayerKind
    in_library: bool
    in_features: int
    out_features: int
    nonzeros: int
    filled: float
    first_tokens: bool = False

    @property
    def break_even(self) -> float:
        """The value of `filled` below which the exporter chooses the sparse product."""
        return break_even(self.kind)

    @property
    def density(self) -> float:
        """Share of nonzero weights."""
        return self.nonzeros / max(1, self.in_features * self.out_features)


def linear_layers(path: Path) -> dict[str, LinearLayer]:
    """Return the linear layers of the main graph by the name of their node, in the order of the file.

    Raises:
        ModelFileError: the file is missing or damaged.
    """
    model = load_structure(path)
    initializers = {stored.name: stored for stored in stored_tensors(model, path)}
    # One weight at a time: a model may be larger than memory.
    inside = {name: _count(weight) for name, weight in kernel_weights(model, initializers)}
    layers = {}
    for node in model.graph.node:
        operator = operator_of(node)
        if operator is not None and operator.weight is not None:
            layers[node.name] = _of_library(node, operator.weight.kind, inside)
        elif node.domain == "" and node.op_type in ("MatMul", "Gemm"):
            stored = initializers.get(node.input[1])
            if stored is not None and len(stored.shape) == 2:
                layers[node.name] = _of_onnxruntime(node, stored)
    return layers


class _Count(NamedTuple):
    """Statistics of one parameter [in_features, out_features]."""

    elements: int
    nonzeros: int
    blocks: int


def _count(weight: NDArray[Any]) -> _Count:
    nonzero = weight != 0
    in_features = weight.shape[0] // 4 * 4
    blocks = nonzero[:in_features].reshape(-1, 4, weight.shape[1]).any(axis=1)
    return _Count(weight.size, int(np.count_nonzero(nonzero)), int(np.count_nonzero(blocks)))


def _of_library(node: NodeProto, kind: LayerKind, inside: Mapping[str, _Count]) -> LinearLayer:
    settings = attributes(node)
    names = tuple(name.decode() for name in settings["weights"])
    elements, nonzeros, blocks = (sum(column) for column in zip(*(inside[name] for name in names), strict=True))
    return LinearLayer(
        weights=names,
        kind=kind,
        in_library=True,
        in_features=settings["in_features"],
        out_features=settings["out_features"],
        nonzeros=nonzeros,
        filled=(4 * blocks if kind.endswith("int8") else nonzeros) / max(1, elements),
        first_tokens=bool(settings.get("first_tokens", 0)),
    )


def _of_onnxruntime(node: NodeProto, stored: StoredTensor) -> LinearLayer:
    in_features, out_features = stored.shape
    if attributes(node).get("transB", 0):
        in_features, out_features = out_features, in_features
    nonzeros = stored.nonzeros()
    filled = nonzeros / max(1, stored.elements)
    return LinearLayer((stored.name,), "dense", False, in_features, out_features, nonzeros, filled)


LoadArray = Callable[[], NDArray[Any]]


def match_parameters(initializers: Mapping[str, LoadArray], parameters: Mapping[str, LoadArray]) -> dict[str, str]:
    """Find the parameter that each initializer holds, as it is or transposed.

    An initializer with the name of a parameter keeps it. If several parameters have the same content, such as tied or
    untrained weights, the first unused one is chosen. Arrays are loaded one at a time.

    Returns:
        new name by old name, for the initializers that change.
    """
    unnamed = [name for name in initializers if name not in parameters]
    names_by_content: dict[bytes, list[str]] = {}
    for name, load in parameters.items():
        if name not in initializers:
            array = load()
            names_by_content.setdefault(_digest(array), []).append(name)
            if array.ndim == 2:
                names_by_content.setdefault(_digest(array.T), []).append(name)
    renamed: dict[str, str] = {}
    for old in unnamed:
        candidates = names_by_content.get(_digest(initializers[old]()), [])
        new = next((name for name in candidates if name not in renamed.values()), None)
        if new is not None:
            renamed[old] = new
    return renamed


def equal_parameters(parameters: Mapping[str, LoadArray]) -> dict[str, tuple[str, ...]]:
    """Return for each parameter the names of parameters with the same content, its own name first.

    The exporter stores small tensors with equal content once, such as two completely pruned matrices.
    """
    names_by_content: dict[bytes, list[str]] = {}
    for name, load in parameters.items():
        names_by_content.setdefault(_digest(load()), []).append(name)
    groups = {name: names for names in names_by_content.values() for name in names}
    return {name: (name, *(other for other in groups[name] if other != name)) for name in parameters}


def _digest(array: NDArray[Any]) -> bytes:
    """Hash type, shape and content."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.digest()

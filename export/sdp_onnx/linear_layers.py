"""The linear layers of a file, by the node that multiplies: which parameters it holds and how many are not zero."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onnx import NodeProto

from sdp_onnx.graph_index import attributes
from sdp_onnx.kernel_graph import LayerKind
from sdp_onnx.kernel_weights import kernel_records
from sdp_onnx.model_file import StoredTensor, TensorRecord, load_structure, stored_tensors
from sdp_onnx.operator_library import DOMAIN

_KINDS: dict[str, LayerKind] = {"SparseLinear": "sparse", "DenseLinear": "dense", "SparseLinearInt8": "int8"}


@dataclass(frozen=True)
class LinearLayer:
    """One node that multiplies by parameters.

    Attributes:
        weights: the parameters it holds, stacked along out_features in this order.
        kind: the product that runs.
        in_library: whether it is an operator of the library, or one of onnxruntime's own.
        nonzeros: weights that are not zero.
    """

    weights: tuple[str, ...]
    kind: LayerKind
    in_library: bool
    in_features: int
    out_features: int
    nonzeros: int

    @property
    def density(self) -> float:
        """Share of the weights that are not zero."""
        return self.nonzeros / max(1, self.in_features * self.out_features)


def linear_layers(path: Path) -> dict[str, LinearLayer]:
    """The linear layers of the main graph by the name of their node, in the order of the file.

    Raises:
        ModelFileError: the file is missing or damaged.
    """
    model = load_structure(path)
    initializers = {stored.name: stored for stored in stored_tensors(model, path)}
    inside = {record.name: record for record in kernel_records(model, initializers)[0]}
    layers = {}
    for node in model.graph.node:
        if node.domain == DOMAIN and node.op_type in _KINDS:
            layers[node.name] = _of_library(node, inside)
        elif node.domain == "" and node.op_type in ("MatMul", "Gemm"):
            stored = initializers.get(node.input[1])
            if stored is not None and len(stored.shape) == 2:
                layers[node.name] = _of_onnxruntime(node, stored)
    return layers


def _of_library(node: NodeProto, inside: dict[str, TensorRecord]) -> LinearLayer:
    settings = attributes(node)
    names = tuple(name.decode() for name in settings["weights"])
    return LinearLayer(
        weights=names,
        kind=_KINDS[node.op_type],
        in_library=True,
        in_features=settings["in_features"],
        out_features=settings["out_features"],
        nonzeros=sum(inside[name].elements - inside[name].zeros for name in names),
    )


def _of_onnxruntime(node: NodeProto, stored: StoredTensor) -> LinearLayer:
    in_features, out_features = stored.shape
    if attributes(node).get("transB", 0):
        in_features, out_features = out_features, in_features
    return LinearLayer((stored.name,), "dense", False, in_features, out_features, stored.nonzeros())

"""Find gated feed-forward layers in an exported encoder: activation(x W1) (x W2) (Shazeer, arXiv 2002.05202).

Both products are halves of one linear layer, or two layers with the same input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sdp_onnx.export.kernel_patterns import Linear
from sdp_onnx.model.graph_index import GraphIndex, attributes
from sdp_onnx.model.model_file import StoredTensor


@dataclass(frozen=True)
class Gate:
    """A gate with the linear layers that it reads.

    Attributes:
        nodes: the positions of the nodes that it replaces, without the linear layers.
        linears: the layer of both halves, or those of the gate and of what passes it; without activations.
        activation: gelu, gelu_tanh or silu.
        out: its output, [batch, tokens, width].
    """

    nodes: tuple[int, ...]
    linears: tuple[Linear, ...]
    activation: str
    out: str


@dataclass(frozen=True)
class _Activated:
    """What passes an activation: the value before it, and the nodes of the activation."""

    before: str
    activation: str
    nodes: tuple[int, ...]


def find_gates(
    index: GraphIndex, initializers: Mapping[str, StoredTensor], linears: Mapping[str, Linear]
) -> list[Gate]:
    """Find the gates that PackedGate computes.

    Args:
        index: of the graph.
        initializers: by name.
        linears: the linear layers by their output values.
    """
    found = [_gate(i, index, initializers, linears) for i in range(len(index.nodes))]
    return [gate for gate in found if gate is not None]


def _gate(
    i: int, index: GraphIndex, initializers: Mapping[str, StoredTensor], linears: Mapping[str, Linear]
) -> Gate | None:
    if not index.is_op(i, "Mul"):
        return None
    first, second = index.nodes[i].input
    for gated, passed in ((first, second), (second, first)):
        own = _layers(gated, passed, i, index, linears) or _halves(gated, passed, i, index, initializers, linears)
        if own is not None:
            return own
    return None


def _layers(gated: str, passed: str, i: int, index: GraphIndex, linears: Mapping[str, Linear]) -> Gate | None:
    """Match two layers with the same input; an activation may be part of the first."""
    other = linears.get(passed)
    if other is None or other.activation != "none" or other.norm is not None:
        return None
    if index.only_reader(passed, "Mul") != i:
        return None
    own = linears.get(gated)
    if own is not None and own.activation != "none" and index.only_reader(gated, "Mul") == i:
        nodes: tuple[int, ...] = (i,)
        activation = own.activation
    else:
        activated = _activated(gated, i, index)
        own = linears.get(activated.before) if activated is not None else None
        if activated is None or own is None or own.activation != "none" or own.norm is not None:
            return None
        nodes, activation = (*activated.nodes, i), activated.activation
    if own.x != other.x:
        return None
    return Gate(nodes, (replace(own, activation="none"), other), activation, index.nodes[i].output[0])


def _halves(
    gated: str,
    passed: str,
    i: int,
    index: GraphIndex,
    initializers: Mapping[str, StoredTensor],
    linears: Mapping[str, Linear],
) -> Gate | None:
    """Match the two outputs of a Split of one layer, the first of which passes the activation."""
    activated = _activated(gated, i, index)
    split = index.producer(passed, "Split")
    if activated is None or split is None or index.only_reader(passed, "Mul") != i:
        return None
    node = index.nodes[split]
    linear = linears.get(node.input[0])
    if (
        linear is None
        or index.only_reader(linear.out, "Split") != split
        or list(node.output) != [activated.before, passed]
    ):
        return None
    if linear.activation != "none" or linear.norm is not None or attributes(node).get("axis", 0) not in (-1, 2):
        return None
    width = initializers[linear.weight].shape[1]
    sizes = initializers.get(node.input[1]) if len(node.input) > 1 else None
    if width % 2 or (sizes is not None and [int(size) for size in sizes.array()] != [width // 2] * 2):
        return None
    return Gate((*activated.nodes, split, i), (linear,), activated.activation, index.nodes[i].output[0])


def _activated(value: str, reader: int, index: GraphIndex) -> _Activated | None:
    """Match Gelu, or the product of a value and its Sigmoid, which `reader` alone reads."""
    if index.only_reader(value, "Mul") != reader:
        return None
    gelu = index.producer(value, "Gelu")
    if gelu is not None:
        before = index.nodes[gelu].input[0]
        form = attributes(index.nodes[gelu]).get("approximate", "none")
        alone = index.only_reader(before, "Gelu") == gelu
        return _Activated(before, "gelu_tanh" if form == "tanh" else "gelu", (gelu,)) if alone else None
    product = index.producer(value, "Mul")
    if product is None:
        return None
    for before, share in (index.nodes[product].input, reversed(index.nodes[product].input)):
        sigmoid = index.producer(share, "Sigmoid")
        if sigmoid is None or index.nodes[sigmoid].input[0] != before or index.only_reader(share, "Mul") != product:
            continue
        if before not in index.outputs and sorted(index.readers(before)) == sorted((sigmoid, product)):
            return _Activated(before, "silu", (sigmoid, product))
    return None

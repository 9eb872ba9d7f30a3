"""Find disentangled attention, that of DeBERTa, in an exported encoder (He et al., arXiv 2006.03654, section 3.1).

Scores are the sum of three products: of query and key, of the query with the key of their distance, and of the key with
the query of their distance. torch exports all of it with heads and texts in one axis, [batch * heads, tokens, ...].
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from sdp_onnx.export.attention_patterns import UNSEEN, AttentionBlock, Positions
from sdp_onnx.export.kernel_patterns import Linear
from sdp_onnx.model.graph_index import GraphIndex, attributes
from sdp_onnx.model.model_file import StoredTensor
from sdp_onnx.operators.weight_formats import round_rows

_HEAD_AXES = [0, 2, 1, 3]
_LAST_AXES = [0, 2, 1]
_GROUP = 16


class _OtherError(Exception):
    """Something else than disentangled attention."""


class _Walk:
    """Goes from values to the nodes that make them, and remembers these."""

    def __init__(self, index: GraphIndex, initializers: Mapping[str, StoredTensor]) -> None:
        self.index = index
        self.initializers = initializers
        self.nodes: set[int] = set()

    def back(self, value: str, op_type: str) -> NodeProto:
        """Return the node of this type that makes a value.

        Raises:
            _OtherError: another node does.
        """
        i = self.index.producer(value, op_type)
        if i is None:
            raise _OtherError
        self.nodes.add(i)
        node: NodeProto = self.index.nodes[i]
        return node

    def transposed(self, value: str, axes: list[int]) -> str:
        """Return what a Transpose with these axes reads to make a value."""
        node = self.back(value, "Transpose")
        _require(attributes(node).get("perm") == axes)
        return str(node.input[0])

    def divided(self, value: str) -> tuple[str, float]:
        """Return what is divided to make a value, and by which constant."""
        node = self.back(value, "Div")
        number = self.initializers.get(node.input[1])
        _require(number is not None and number.elements == 1)
        assert number is not None
        return node.input[0], float(number.array().reshape(()))

    def heads(self, value: str) -> tuple[str, int]:
        """Return what is divided into heads to make [batch * heads, tokens, size], and the number of heads."""
        divided = self.transposed(self.back(value, "Reshape").input[0], _HEAD_AXES)
        node = self.back(divided, "Reshape")
        return node.input[0], self._dimension(node.input[1], 2)

    def _dimension(self, shape: str, place: int) -> int:
        joined = self.index.producer(shape, "Concat")
        name = shape if joined is None else self.index.nodes[joined].input[place]
        stored = self.initializers.get(name)
        _require(stored is not None)
        assert stored is not None
        return int(stored.array().reshape(-1)[place if joined is None else 0])


def _require(condition: bool) -> None:
    if not condition:
        raise _OtherError


def find_disentangled(
    index: GraphIndex, initializers: Mapping[str, StoredTensor], linears: Mapping[str, Linear]
) -> list[AttentionBlock]:
    """Find the attention that PackedDisentangledAttention computes.

    Args:
        index: of the graph.
        initializers: by name.
        linears: the linear layers by their output values.
    """
    found = []
    for i in range(len(index.nodes)):
        if index.is_op(i, "MatMul"):
            try:
                found.append(_block(i, _Walk(index, initializers), linears))
            except _OtherError:
                continue
    return found


def _block(i: int, walk: _Walk, linears: Mapping[str, Linear]) -> AttentionBlock:
    index = walk.index
    walk.nodes.add(i)
    shares, values = index.nodes[i].input
    softmax = walk.back(walk.back(shares, "Reshape").input[0], "Softmax")
    _require(attributes(softmax).get("axis", -1) in (-1, 3))
    hidden, least, scores = walk.back(softmax.input[0], "Where").input
    seen = _seen(hidden, least, walk)
    total = walk.back(walk.back(scores, "Reshape").input[0], "Add")
    content, by_place = sorted(total.input, key=lambda name: index.producer(name, "MatMul") is None)
    queries, scaled = walk.back(content, "MatMul").input
    turned, divisor = walk.divided(scaled)
    keys = walk.transposed(turned, _LAST_AXES)
    parts = {}
    for part in walk.back(by_place, "Add").input:
        inner, own = walk.divided(part)
        _require(abs(own - divisor) <= 1e-6 * abs(divisor))
        of_keys = index.producer(inner, "Transpose") is not None
        gathered = walk.transposed(inner, _LAST_AXES) if of_keys else inner
        parts[of_keys] = _products(gathered, keys if of_keys else queries, walk, linears)
    _require(len(parts) == 2 and divisor > 0)
    (key_layer, key_places), (query_layer, query_places) = parts[False], parts[True]
    made = [walk.heads(value) for value in (queries, keys, values)]
    layers = tuple(linears[value] for value, _ in made if value in linears)
    _require(len(layers) == 3 and len({linear.x for linear in layers}) == 1 and len({heads for _, heads in made}) == 1)
    same = [(key_layer, layers[1]), (query_layer, layers[0])]
    _require(all(own.weight == other.weight and own.bias == other.bias for own, other in same))
    _require(all(linear.norm is None and linear.activation == "none" for linear in (*layers, key_layer, query_layer)))
    width, heads = walk.initializers[layers[0].weight].shape[1], made[0][1]
    _require(heads > 0 and width % heads == 0 and width // heads % 8 == 0)
    out = _joined(i, walk)
    _require(_closed(walk, out))
    return AttentionBlock(
        tuple(sorted(walk.nodes)),
        layers,
        width,
        seen,
        width // heads,
        1 / divisor,
        out,
        written_out=True,
        positions=Positions(key_layer, query_layer, key_places, query_places),
    )


def _seen(hidden: str, least: str, walk: _Walk) -> str:
    """The mask of what is seen, given the one of what is not."""
    inverted = walk.index.producer(hidden, "Not")
    number = walk.initializers.get(least)
    _require(inverted is not None and number is not None and number.elements == 1)
    assert inverted is not None
    assert number is not None
    seen = str(walk.index.nodes[inverted].input[0])
    _require(float(number.array().reshape(())) <= UNSEEN and walk.index.is_bool(seen) and walk.index.rank(seen) == 4)
    return seen


def _products(gathered: str, tokens: str, walk: _Walk, linears: Mapping[str, Linear]) -> tuple[Linear, str]:
    """The layer that makes what tokens are multiplied with for each place, and which place belongs to each pair."""
    node = walk.back(gathered, "GatherElements")
    _require(attributes(node).get("axis", 0) in (-1, 2))
    products, places = node.input
    first, second = walk.back(products, "MatMul").input
    _require(first == tokens)
    # One for all texts, repeated for each.
    repeated = walk.back(walk.transposed(second, _LAST_AXES), "Tile").input[0]
    if walk.index.producer(repeated, "Expand") is not None:
        repeated = walk.back(repeated, "Expand").input[0]
    value, _ = walk.heads(repeated)
    # Layers share the places; those that no other node reads are dropped with the rest.
    expanded = walk.index.producer(places, "Expand")
    _require(value in linears and expanded is not None)
    assert expanded is not None
    return linears[value], str(walk.index.nodes[expanded].input[0])


def _joined(i: int, walk: _Walk) -> str:
    """The value in which the heads of a token lie one behind the other again."""
    value = str(walk.index.nodes[i].output[0])
    for op_type in ("Reshape", "Transpose", "Reshape"):
        reader = walk.index.only_reader(value, op_type)
        _require(reader is not None)
        assert reader is not None
        walk.nodes.add(reader)
        value = str(walk.index.nodes[reader].output[0])
    return value


def _closed(walk: _Walk, out: str) -> bool:
    """Whether nothing but its output is read by other nodes, and the block's layers are read by it alone."""
    inside = {name for i in walk.nodes for name in walk.index.nodes[i].output} - {out}
    return not inside & walk.index.outputs and all(walk.nodes.issuperset(walk.index.readers(name)) for name in inside)


def position_rows(
    linear: Linear,
    heads: int,
    model: ModelProto,
    index: GraphIndex,
    initializers: Mapping[str, StoredTensor],
    *,
    int8: bool,
) -> NDArray[np.float32] | None:
    """Compute the keys or queries of places once, as PackedDisentangledAttention takes them.

    Args:
        linear: the layer that makes them of constants.
        heads: their number.
        model: the model.
        index: of its graph.
        initializers: by name.
        int8: round as the layer does in an int8 file.

    Returns:
        [heads, rows / 16, head_size, 16]; None where they are not made of constants alone.
    """
    nodes = [index.nodes[i] for i in index.upstream(linear.x)]
    read = sorted({name for node in nodes for name in node.input if name in initializers})
    graph = helper.make_graph(
        nodes,
        "places",
        [],
        [helper.make_tensor_value_info(linear.x, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(initializers[name].array(), name) for name in read],
    )
    part = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    try:
        (x,) = ReferenceEvaluator(part).run(None, {})
    except Exception:  # a node reads what the texts give; the evaluator's exceptions have no common base class
        return None
    rows = _multiplied(np.asarray(x, np.float32)[0], initializers[linear.weight].array(), int8=int8)
    if linear.bias is not None:
        rows += initializers[linear.bias].array()
    padded = np.zeros((-(-len(rows) // _GROUP) * _GROUP, rows.shape[1]), np.float32)
    padded[: len(rows)] = rows
    size = rows.shape[1] // heads
    return np.ascontiguousarray(padded.reshape(-1, _GROUP, heads, size).transpose(2, 0, 3, 1))


def _multiplied(x: NDArray[np.float32], weight: NDArray[np.float32], *, int8: bool) -> NDArray[np.float32]:
    """x [rows, in] times a weight [in, out]; in int8 with one scale for each row of x and for each output."""
    if not int8:
        return x @ weight
    values, scale = round_rows(np.ascontiguousarray(weight.T))
    own = np.maximum(np.abs(x).max(axis=1, keepdims=True), 1e-30) / 127
    rounded = np.rint(x / own)
    products = rounded.astype(np.float64) @ values.T.astype(np.float64)
    return np.asarray(products * own * scale, np.float32)

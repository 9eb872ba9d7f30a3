"""Find the patterns in an exported encoder that one operator of the library replaces: linear layers and attention.

The patterns are those of transformers' encoders as torch exports them for opset 23: MatMul + Add, Gelu,
LayerNormalization(x + residual), and Attention between Reshape and Transpose. Other nodes stay unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from onnx import NodeProto, TensorProto

from sdp_onnx.model.graph_index import GraphIndex, attributes
from sdp_onnx.model.model_file import StoredTensor

_HEAD_AXES = [0, 2, 1, 3]


@dataclass(frozen=True)
class Norm:
    """A layer normalization of a product plus a residual."""

    residual: str
    gamma: str
    beta: str
    epsilon: float


@dataclass(frozen=True)
class Linear:
    """activation(x W + bias), or LayerNorm(x W + bias + residual).

    Attributes:
        nodes: the positions of the nodes that it replaces, in order.
        x: its input, [batch, tokens, in_features].
        weight: initializer [in_features, out_features].
        bias: initializer [out_features]; None without a bias.
        out: the output of the last node.
        activation: none, gelu or gelu_tanh.
        norm: the norm that follows instead of an activation.
    """

    nodes: tuple[int, ...]
    x: str
    weight: str
    bias: str | None
    out: str
    activation: str = "none"
    norm: Norm | None = None


@dataclass(frozen=True)
class AttentionBlock:
    """The heads of one layer, with the linear layers of queries, keys and values.

    Attributes:
        nodes: the positions of the nodes that it replaces, without the linear layers.
        mask: bool value, broadcast to [batch, heads, tokens, tokens]; None where every query sees every key.
        out: its output, [batch, tokens, heads * head_size].
    """

    nodes: tuple[int, ...]
    linears: tuple[Linear, Linear, Linear]
    mask: str | None
    head_size: int
    scale: float
    out: str


@dataclass(frozen=True)
class Lookup:
    """Rows of a table: initializer [rows, width] and int64 indices [batch or 1, tokens]."""

    table: str
    indices: str
    rows: int


@dataclass(frozen=True)
class Embedding:
    """LayerNorm(words + types + positions)."""

    words: Lookup
    positions: Lookup | None
    types: Lookup | None
    gamma: str
    beta: str
    epsilon: float


@dataclass
class Patterns:
    """All patterns by their output value."""

    linears: dict[str, Linear] = field(default_factory=dict)
    attentions: list[AttentionBlock] = field(default_factory=list)


def find_patterns(index: GraphIndex, initializers: Mapping[str, StoredTensor]) -> Patterns:
    """Find every linear layer on [batch, tokens, features] with an initializer as weight, and attention."""
    patterns = Patterns()
    for i in range(len(index.nodes)):
        linear = _linear(i, index, initializers)
        if linear is not None:
            patterns.linears[linear.out] = linear
    for i in range(len(index.nodes)):
        block = _attention(i, index, initializers, patterns.linears)
        if block is not None:
            patterns.attentions.append(block)
    return patterns


def find_embedding(
    value: str, words: str, index: GraphIndex, initializers: Mapping[str, StoredTensor]
) -> Embedding | None:
    """Match the normalized sum of a lookup of `words`, and at most two others, that makes `value`.

    Of these, the table with more rows has the positions.
    """
    normed = index.producer(value, "LayerNormalization")
    if normed is None:
        return None
    node = index.nodes[normed]
    lookups = _summed_lookups(node.input[0], index, initializers)
    if lookups is None or len(node.input) != 3 or attributes(node).get("axis", -1) not in (-1, 2):
        return None
    own = [lookup for lookup in lookups if lookup.indices == words]
    others = sorted((one for one in lookups if one.indices != words), key=lambda one: one.rows, reverse=True)
    width = initializers[lookups[0].table].shape[1]
    if len(own) != 1 or len(others) > 2 or any(initializers[one.table].shape[1] != width for one in lookups):
        return None
    if not all(_is_vector(name, width, initializers) for name in node.input[1:]):
        return None
    positions, types = [*others, None, None][:2]
    return Embedding(own[0], positions, types, node.input[1], node.input[2], attributes(node).get("epsilon", 1e-5))


def _summed_lookups(value: str, index: GraphIndex, initializers: Mapping[str, StoredTensor]) -> list[Lookup] | None:
    """The lookups that a value is the sum of; None where it is made of anything else."""
    added = index.producer(value, "Add")
    if added is not None:
        parts = [_summed_lookups(name, index, initializers) for name in index.nodes[added].input]
        return None if None in parts else [one for part in parts if part is not None for one in part]
    found = index.producer(value, "Gather")
    if found is None or attributes(index.nodes[found]).get("axis", 0) != 0:
        return None
    table, indices = index.nodes[found].input
    stored = initializers.get(table)
    if stored is None or len(stored.shape) != 2 or stored.data_type != TensorProto.FLOAT or index.rank(indices) != 2:
        return None
    return [Lookup(table, indices, stored.shape[0])]


def _linear(i: int, index: GraphIndex, initializers: Mapping[str, StoredTensor]) -> Linear | None:
    if not index.is_op(i, "MatMul"):
        return None
    x, weight = index.nodes[i].input
    stored = initializers.get(weight)
    if stored is None or len(stored.shape) != 2 or x in initializers or index.rank(x) != 3:
        return None
    linear = Linear((i,), x, weight, None, index.nodes[i].output[0])
    linear = _with_bias(linear, stored.shape[1], index, initializers)
    return _with_activation(linear, index) or _with_norm(linear, stored.shape[1], index, initializers) or linear


def _with_bias(linear: Linear, width: int, index: GraphIndex, initializers: Mapping[str, StoredTensor]) -> Linear:
    reader = index.only_reader(linear.out, "Add")
    if reader is None:
        return linear
    other = _other_input(reader, linear.out, index)
    if not _is_vector(other, width, initializers):
        return linear
    return replace(linear, nodes=(*linear.nodes, reader), bias=other, out=index.nodes[reader].output[0])


def _with_activation(linear: Linear, index: GraphIndex) -> Linear | None:
    reader = index.only_reader(linear.out, "Gelu")
    if reader is None:
        return None
    form = attributes(index.nodes[reader]).get("approximate", "none")
    return replace(
        linear,
        nodes=(*linear.nodes, reader),
        activation="gelu_tanh" if form == "tanh" else "gelu",
        out=index.nodes[reader].output[0],
    )


def _with_norm(
    linear: Linear, width: int, index: GraphIndex, initializers: Mapping[str, StoredTensor]
) -> Linear | None:
    added = index.only_reader(linear.out, "Add")
    if added is None:
        return None
    residual = _other_input(added, linear.out, index)
    normed = index.only_reader(index.nodes[added].output[0], "LayerNormalization")
    if normed is None or residual in initializers or index.rank(residual) != 3:
        return None
    node = index.nodes[normed]
    settings = attributes(node)
    # Further outputs are statistics, which the operator does not compute.
    if len(node.input) != 3 or len(node.output) != 1 or settings.get("axis", -1) not in (-1, 2):
        return None
    if not all(_is_vector(name, width, initializers) for name in node.input[1:]):
        return None
    norm = Norm(residual, node.input[1], node.input[2], settings.get("epsilon", 1e-5))
    return replace(linear, nodes=(*linear.nodes, added, normed), norm=norm, out=node.output[0])


def _attention(
    i: int, index: GraphIndex, initializers: Mapping[str, StoredTensor], linears: Mapping[str, Linear]
) -> AttentionBlock | None:
    node = index.nodes[i]
    if not index.is_op(i, "Attention") or not _is_plain_attention(node, index):
        return None
    heads = [_heads(value, i, index, initializers, linears) for value in node.input[:3]]
    query, key, value = heads
    if query is None or key is None or value is None:
        return None
    joined = _joined_heads(node.output[0], query.shape, index, initializers)
    if joined is None:
        return None
    layers = (query.linear, key.linear, value.linear)
    shapes = {initializers[linear.weight].shape for linear in layers}
    width = initializers[query.linear.weight].shape[1]
    plain = all(linear.norm is None and linear.activation == "none" for linear in layers)
    same = len({linear.x for linear in layers}) == len({query.size, key.size, value.size}) == len(shapes) == 1
    # The library's kernels process the features of a head in groups of eight.
    if not plain or not same or query.size % 8 or width % query.size or joined.width not in (-1, width):
        return None
    return AttentionBlock(
        tuple(sorted([i, *query.nodes, *key.nodes, *value.nodes, *joined.nodes])),
        layers,
        node.input[3] if len(node.input) == 4 and node.input[3] else None,
        query.size,
        attributes(node).get("scale") or query.size**-0.5,
        joined.out,
    )


def _is_plain_attention(node: NodeProto, index: GraphIndex) -> bool:
    """softmax(q k^T scale, masked by a bool value) v, without a cache and without further outputs."""
    if len(node.output) != 1 or not 3 <= len(node.input) <= 4:
        return False
    settings = attributes(node)
    mask = node.input[3] if len(node.input) == 4 else ""
    return not any(settings.get(name, 0) for name in ("is_causal", "softcap", "softmax_precision")) and (
        not mask or (index.is_bool(mask) and index.rank(mask) == 4)
    )


@dataclass(frozen=True)
class _Heads:
    nodes: tuple[int, int]
    linear: Linear
    size: int
    shape: str  # [batch, tokens, heads, head_size]


def _heads(
    value: str, reader: int, index: GraphIndex, initializers: Mapping[str, StoredTensor], linears: Mapping[str, Linear]
) -> _Heads | None:
    """Match Linear -> Reshape [batch, tokens, heads, head_size] -> Transpose -> `reader`, without other readers."""
    transposed = _reads_alone(value, reader, index, "Transpose")
    if transposed is None or attributes(index.nodes[transposed]).get("perm") != _HEAD_AXES:
        return None
    reshaped = _reads_alone(index.nodes[transposed].input[0], transposed, index, "Reshape")
    linear = linears.get(index.nodes[reshaped].input[0]) if reshaped is not None else None
    if reshaped is None or linear is None or index.only_reader(linear.out, "Reshape") != reshaped:
        return None
    shape = index.nodes[reshaped].input[1]
    size = _last_dimension(shape, 4, index, initializers)
    return _Heads((transposed, reshaped), linear, size, shape) if size is not None and size > 0 else None


@dataclass(frozen=True)
class _Joined:
    nodes: tuple[int, ...]
    out: str
    width: int


def _joined_heads(
    value: str, split: str, index: GraphIndex, initializers: Mapping[str, StoredTensor]
) -> _Joined | None:
    """Match Attention -> Transpose -> Reshape [batch, tokens, width].

    Where there is one head, torch's exporter reshapes what attention gives to the shape that it has already.

    Args:
        split: the shape of the queries, [batch, tokens, heads, head_size].
    """
    same = index.only_reader(value, "Reshape")
    if same is not None and _is_transposed(index.nodes[same].input[1], split, index):
        found = _joined_heads(index.nodes[same].output[0], split, index, initializers)
        return replace(found, nodes=(same, *found.nodes)) if found is not None else None
    back = index.only_reader(value, "Transpose")
    if back is None or attributes(index.nodes[back]).get("perm") != _HEAD_AXES:
        return None
    joined = index.only_reader(index.nodes[back].output[0], "Reshape")
    width = _last_dimension(index.nodes[joined].input[1], 3, index, initializers) if joined is not None else None
    return _Joined((back, joined), index.nodes[joined].output[0], width) if joined is not None and width else None


def _is_transposed(shape: str, split: str, index: GraphIndex) -> bool:
    """Whether a shape [batch, heads, tokens, head_size] is joined of the same sizes as [batch, tokens, heads, ...]."""
    own, other = (index.producer(name, "Concat") for name in (shape, split))
    if own is None or other is None:
        return False
    sizes = list(index.nodes[other].input)
    return len(sizes) == 4 and list(index.nodes[own].input) == [sizes[axis] for axis in _HEAD_AXES]


def _reads_alone(value: str, reader: int, index: GraphIndex, op_type: str) -> int | None:
    """Return the node of this type that produces `value` for `reader` alone."""
    found = index.producer(value, op_type)
    return found if found is not None and index.only_reader(value, index.nodes[reader].op_type) == reader else None


def _last_dimension(shape: str, rank: int, index: GraphIndex, initializers: Mapping[str, StoredTensor]) -> int | None:
    """Return the last size of a shape with `rank` dimensions: a constant, or constants and computed dimensions."""
    if shape in initializers:
        values = initializers[shape].array().reshape(-1)
        return int(values[-1]) if values.size == rank else None
    joined = index.producer(shape, "Concat")
    if joined is None or len(index.nodes[joined].input) != rank:
        return None
    last = initializers.get(index.nodes[joined].input[-1])
    return int(last.array().reshape(-1)[0]) if last is not None and last.elements == 1 else None


def _other_input(i: int, value: str, index: GraphIndex) -> str:
    first, second = index.nodes[i].input
    return str(second if first == value else first)


def _is_vector(name: str, width: int, initializers: Mapping[str, StoredTensor]) -> bool:
    return name in initializers and initializers[name].shape == (width,)

"""Find the patterns in an exported encoder that one operator of the library replaces: linear layers and embeddings.

The patterns are those of transformers' encoders as torch exports them for opset 23: MatMul + Add, Gelu,
LayerNormalization(x + residual), and LayerNormalization of rows that are looked up. `attention_patterns` has attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isclose, pi

from onnx import TensorProto

from sdp_onnx.model.graph_index import GraphIndex, attributes
from sdp_onnx.model.model_file import StoredTensor


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


def find_linears(index: GraphIndex, initializers: Mapping[str, StoredTensor]) -> dict[str, Linear]:
    """Find every linear layer on [batch, tokens, features] with an initializer as weight, by its output value."""
    found = (_linear(i, index, initializers) for i in range(len(index.nodes)))
    return {linear.out: linear for linear in found if linear is not None}


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
    return (
        _with_activation(linear, index, initializers)
        or _with_norm(linear, stored.shape[1], index, initializers)
        or linear
    )


def _with_bias(linear: Linear, width: int, index: GraphIndex, initializers: Mapping[str, StoredTensor]) -> Linear:
    reader = index.only_reader(linear.out, "Add")
    if reader is None:
        return linear
    other = index.other_input(reader, linear.out)
    if not _is_vector(other, width, initializers):
        return linear
    return replace(linear, nodes=(*linear.nodes, reader), bias=other, out=index.nodes[reader].output[0])


def _with_activation(linear: Linear, index: GraphIndex, initializers: Mapping[str, StoredTensor]) -> Linear | None:
    reader = index.only_reader(linear.out, "Gelu")
    if reader is None:
        return _with_written_out_gelu(linear, index, initializers)
    form = attributes(index.nodes[reader]).get("approximate", "none")
    return replace(
        linear,
        nodes=(*linear.nodes, reader),
        activation="gelu_tanh" if form == "tanh" else "gelu",
        out=index.nodes[reader].output[0],
    )


# 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), as transformers' "gelu_new" writes it: what is done to x, from the
# inside to the outside, with the constant.
_CUBE, _INNER, _SCALE, _HALF = 3.0, 0.044715, (2 / pi) ** 0.5, 0.5


def _with_written_out_gelu(
    linear: Linear, index: GraphIndex, initializers: Mapping[str, StoredTensor]
) -> Linear | None:
    x, readers = linear.out, index.readers(linear.out)
    if len(readers) != 3 or x in index.outputs:
        return None
    found = list(readers)

    def follow(value: str, op_type: str, other: float | str) -> str:
        """What the only such reader of `value`, of x one of several, makes of it and of a constant or another value."""
        if not value:
            return ""
        for i in readers if value == x else index.readers(value):
            if not index.is_op(i, op_type) or (value != x and index.only_reader(value, op_type) != i):
                continue
            operand = index.other_input(i, value) if len(index.nodes[i].input) == 2 else ""
            if operand == other or (isinstance(other, float) and _is_number(operand, other, initializers)):
                found.append(i)
                return str(index.nodes[i].output[0])
        return ""

    cubed = follow(follow(x, "Pow", _CUBE), "Mul", _INNER)
    inner = follow(follow(cubed, "Add", x), "Mul", _SCALE)
    shifted = follow(follow(inner, "Tanh", ""), "Add", 1.0)
    out = follow(shifted, "Mul", follow(x, "Mul", _HALF)) if shifted else ""
    if not out:
        return None
    nodes = tuple(sorted({*linear.nodes, *found}))
    return replace(linear, nodes=nodes, activation="gelu_tanh", out=out)


def _is_number(name: str, value: float, initializers: Mapping[str, StoredTensor]) -> bool:
    stored = initializers.get(name)
    return (
        stored is not None and stored.elements == 1 and isclose(float(stored.array().reshape(())), value, rel_tol=1e-5)
    )


def _with_norm(
    linear: Linear, width: int, index: GraphIndex, initializers: Mapping[str, StoredTensor]
) -> Linear | None:
    added = index.only_reader(linear.out, "Add")
    if added is None:
        return None
    residual = index.other_input(added, linear.out)
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


def _is_vector(name: str, width: int, initializers: Mapping[str, StoredTensor]) -> bool:
    return name in initializers and initializers[name].shape == (width,)

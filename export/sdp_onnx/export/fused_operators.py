"""Repeat inputs of the operators that torch fuses from opset 23 on, where onnxruntime does not broadcast."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import GraphProto, NodeProto, ValueInfoProto, helper, numpy_helper

_ONE = "fused/one"
_MASK = 3


def repeat_inputs(graph: GraphProto) -> None:
    """Repeat cosines, sines and masks to the sizes that RotaryEmbedding and Attention need, in place.

    RotaryEmbedding without position ids takes [batch, sequence, size / 2], and transformers provides one row;
    Attention takes a mask for each query, and some models provide one for all.
    """
    types = {value.name: value for value in (*graph.value_info, *graph.input)}
    nodes: list[NodeProto] = []
    for node in graph.node:
        standard = node.domain == ""
        if standard and node.op_type == "RotaryEmbedding" and len(node.input) == 3:
            for place in (1, 2):
                nodes += _repeated(node, place, 0, 3)
        if standard and node.op_type == "Attention" and len(node.input) > _MASK and _is_for_all(types, node):
            nodes += _repeated(node, _MASK, 2, 4)
        nodes.append(node)
    if len(nodes) == len(graph.node):
        return
    one = helper.make_node("Constant", [], [_ONE], value=numpy_helper.from_array(np.array([1], np.int64)))
    graph.ClearField("node")
    graph.node.extend([one, *nodes])


def _is_for_all(types: dict[str, ValueInfoProto], node: NodeProto) -> bool:
    """Whether the mask of an Attention is [batch, heads, 1, keys]."""
    value = types.get(node.input[_MASK])
    sizes = value.type.tensor_type.shape.dim if value is not None else []
    return len(sizes) == 4 and sizes[2].dim_value == 1


def _repeated(node: NodeProto, place: int, axis: int, rank: int) -> Iterator[NodeProto]:
    """Yield nodes that repeat an input of `node` along an axis to the size of its first input."""
    name = f"{node.output[0]}/input{place}"
    yield helper.make_node("Shape", [node.input[0]], [f"{name}/size"], start=axis, end=axis + 1)
    sizes = [f"{name}/size" if own == axis else _ONE for own in range(rank)]
    yield helper.make_node("Concat", sizes, [f"{name}/shape"], axis=0)
    yield helper.make_node("Expand", [node.input[place], f"{name}/shape"], [name])
    node.input[place] = name

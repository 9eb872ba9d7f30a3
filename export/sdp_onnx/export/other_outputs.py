"""The output of a file once more, as optimum and the ONNX backend of sentence-transformers read it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

Kind = Literal["logits", "vectors", "spans"]
"""What a network gives: logits of classes, the vectors of a sentence encoder, or starts and ends of answers."""
OUTPUT_NAMES: dict[Kind, str] = {"logits": "logits", "vectors": "sentence_embedding", "spans": "logits"}
ONE_TOKEN = "last_hidden_state"
STARTS_AND_ENDS = ("start_logits", "end_logits")


def add_other_outputs(graph: GraphProto, kind: Kind) -> None:
    """Add outputs behind the first one, in place; to logits of classes none.

    Vectors [batch, size] become `last_hidden_state`, [batch, 1, size]: the ONNX backend of sentence-transformers reads
    that name alone, and whatever it pools with leaves one token as it is. The two columns of spans,
    [batch, sequence, 2], become `start_logits` and `end_logits`, [batch, sequence], as optimum reads them.

    Args:
        graph: has one output.
        kind: what the output is.
    """
    first = graph.output[0]
    shape = [dim.dim_param or dim.dim_value for dim in first.type.tensor_type.shape.dim]
    if kind == "vectors":
        place = _constant(graph, ONE_TOKEN, np.array([1], np.int64))
        node = helper.make_node("Unsqueeze", [first.name, place], [ONE_TOKEN])
        _add(graph, node, [shape[0], 1, shape[1]])
    elif kind == "spans":
        for column, name in enumerate(STARTS_AND_ENDS):
            place = _constant(graph, name, np.array(column, np.int64))
            _add(graph, helper.make_node("Gather", [first.name, place], [name], axis=2), shape[:2])


def _constant(graph: GraphProto, output: str, value: NDArray[np.int64]) -> str:
    name = f"{output}/place"
    graph.node.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value)))
    return name


def _add(graph: GraphProto, node: NodeProto, shape: list[str | int]) -> None:
    graph.node.append(node)
    graph.output.append(helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, shape))

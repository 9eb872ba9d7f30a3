"""Rotary embeddings as torch's exporter fuses them for opset 23, made to run for more than one row."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper

_ONE = "rotary/one"


def give_every_row_its_angles(graph: GraphProto) -> None:
    """Repeat the cosines and sines of each RotaryEmbedding for every row, in place.

    The standard asks for [batch, sequence, size / 2] where there are no position ids. The exporter's fusion
    (onnxscript/rewriter/rules/fusion) passes on transformers' [1, sequence, size / 2], which onnxruntime refuses for
    every batch but 1.
    """
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type == "RotaryEmbedding" and node.domain == "" and len(node.input) == 3:
            shape = f"{node.output[0]}/rows"
            nodes += [
                helper.make_node("Shape", [node.input[0]], [f"{shape}/batch"], start=0, end=1),
                helper.make_node("Concat", [f"{shape}/batch", _ONE, _ONE], [shape], axis=0),
            ]
            for place, name in ((1, "cos"), (2, "sin")):
                repeated = f"{node.output[0]}/{name}"
                nodes.append(helper.make_node("Expand", [node.input[place], shape], [repeated]))
                node.input[place] = repeated
        nodes.append(node)
    if len(nodes) == len(graph.node):
        return
    one = helper.make_node("Constant", [], [_ONE], value=numpy_helper.from_array(np.array([1], np.int64)))
    graph.ClearField("node")
    graph.node.extend([one, *nodes])

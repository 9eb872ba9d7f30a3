"""Damage to an ONNX graph: its edges, attributes, nodes, values and head."""

from __future__ import annotations

from random import Random
from typing import Any

from onnx import ModelProto, helper

from hostile_tensor import DIMENSIONS
from hostile_values import TEXTS
from sdp_onnx.operators.table import OPERATORS

INTEGERS = (*DIMENSIONS, 5, 8, 192, 255, 257, 2**16, 2**32)


def damage_graph(random: Random, model: ModelProto) -> None:
    """Change one thing of it."""
    random.choice([_inputs, damage_attributes, _nodes, _values, _head])(random, model)


def _inputs(random: Random, model: ModelProto) -> None:
    nodes = model.graph.node
    if not nodes:
        return
    node, other = random.choice(nodes), random.choice(nodes)
    kind = random.randrange(6)
    if kind == 0 and node.input:
        # Often a circle: its input comes from a node that needs it.
        node.input[random.randrange(len(node.input))] = (list(other.output) or [""])[0]
    elif kind == 1 and node.input:
        del node.input[random.randrange(len(node.input))]
    elif kind == 2:
        node.input.append(random.choice(["", "nothing", *other.output]))
    elif kind == 3:
        node.output[:] = [random.choice(["", "x", *other.output])]
    elif kind == 4 and node.input:
        node.input[random.randrange(len(node.input))] = random.choice(TEXTS[:40]).replace("\ud800", "")
    else:
        del node.output[:]


def damage_attributes(random: Random, model: ModelProto) -> None:
    """Change an attribute of a node, of the library's for preference."""
    nodes = list(model.graph.node)
    if not nodes:
        return
    library = [node for node in nodes if node.domain] or nodes
    node = random.choice(library if random.random() < 0.7 else nodes)
    if not node.attribute:
        node.attribute.append(helper.make_attribute("axis", random.choice(INTEGERS)))
        return
    attribute = random.choice(node.attribute)
    kind = random.randrange(7)
    if kind == 0:
        node.attribute.remove(attribute)
        return
    value: Any = random.choice(
        [
            random.choice(INTEGERS),
            float("nan"),
            "text",
            b"\xff\xfe",
            [1, 2, 3],
            [random.choice(INTEGERS)],
            [b"\xff"],
            ["a"],
        ]
    )
    made = helper.make_attribute(attribute.name, value)
    if kind == 1:
        node.attribute.append(made)
    elif kind == 2:
        attribute.name = random.choice(["", "x", "weights", "widths", "axis"])
    elif kind == 3:
        attribute.ClearField("type")
    else:
        attribute.CopyFrom(made)


def _nodes(random: Random, model: ModelProto) -> None:
    nodes = model.graph.node
    if not nodes:
        return
    node = random.choice(nodes)
    kind = random.randrange(6)
    if kind == 0:
        nodes.remove(node)
    elif kind == 1:
        nodes.add().CopyFrom(node)
    elif kind == 2:
        node.op_type = random.choice(["MatMul", "Gather", "Add", "", "If", "Loop", "Unknown", *OPERATORS])
    elif kind == 3:
        node.domain = random.choice(["", "sdp", "com.microsoft", "ai.onnx.ml", "x"])
    elif kind == 4:
        order = random.sample(list(nodes), len(nodes))
        del nodes[:]
        nodes.extend(order)
    else:
        inner = helper.make_graph(
            [node], "inner", [], [helper.make_tensor_value_info((list(node.output) or ["y"])[0], 1, None)]
        )
        nodes.add().CopyFrom(helper.make_node("If", ["c"], ["branch"], then_branch=inner, else_branch=inner))


def _values(random: Random, model: ModelProto) -> None:
    graph = model.graph
    group = random.choice([graph.input, graph.output, graph.value_info])
    if not group:
        return
    value = random.choice(group)
    kind = random.randrange(6)
    if kind == 0:
        group.remove(value)
    elif kind == 1:
        value.type.tensor_type.elem_type = random.choice([0, 1, 7, 8, 9, 16, 99, 2**31 - 1])
    elif kind == 2:
        value.type.tensor_type.shape.dim.add().dim_value = random.choice(DIMENSIONS)
    elif kind == 3:
        value.type.ClearField("tensor_type")
    elif kind == 4:
        value.name = random.choice(["", "input_ids", "nobody"])
    else:
        group.add().CopyFrom(value)


def _head(random: Random, model: ModelProto) -> None:
    kind = random.randrange(6)
    if kind == 0:
        model.ir_version = random.choice([0, 1, 3, 99, 2**62])
    elif kind == 1 and model.opset_import:
        random.choice(model.opset_import).version = random.choice([0, -1, 1, 7, 13, 99, 2**62])
    elif kind == 2:
        model.opset_import.add().CopyFrom(model.opset_import[0])
    elif kind == 3:
        del model.opset_import[random.randrange(len(model.opset_import) or 1) :]
    elif kind == 4:
        entry = model.metadata_props.add()
        entry.key, entry.value = "sdp.layers", random.choice(TEXTS)
    else:
        model.graph.ClearField(random.choice(["node", "input", "output", "initializer", "name"]))

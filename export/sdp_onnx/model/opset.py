"""The lowest operator set that a graph needs, and the onnxruntime releases that read it.

torch exports for the operator set in which attention is one operator. Once the operator library has taken attention
over, what is left is older than that; a file that declares no more than it needs runs in older releases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnx import AttributeProto, ModelProto, NodeProto, defs, helper

from sdp_onnx.model.graph_index import attributes

STANDARD = ("", "ai.onnx")

# Every encoder has LayerNormalization, which came with 17; and the oldest release below reads more than that.
LOWEST_OPSET = 17

# Measured: the newest operator set, and the newest file format (IR version), that a release of onnxruntime reads.
# The operator library asks for the interface of 1.17, so nothing older counts.
_RELEASES = (("1.17", 20, 9), ("1.18", 21, 10), ("1.21", 22, 10), ("1.23", 23, 11), ("1.24", 25, 13))

# Attributes that a later version added, and that change nothing for floats and integers at their defaults.
_ADDED = {"Cast": {"saturate", "round_mode"}}


def declare_lowest(model: ModelProto) -> None:
    """Lower the operator set that a model declares, and its IR version, to the lowest in which it means the same.

    Args:
        model: changed in place; left as it is where it has functions of its own, whose nodes are not looked at.
    """
    if model.functions:
        return
    declared = next((entry for entry in model.opset_import if entry.domain in STANDARD), None)
    if declared is None or declared.version <= LOWEST_OPSET:
        return
    nodes = list(_standard_nodes(model.graph.node))
    lowest = max((_lowest_of(node, declared.version) for node in nodes), default=LOWEST_OPSET)
    for node in nodes:
        _drop_added(node, lowest)
    declared.version = max(lowest, LOWEST_OPSET)
    oldest_format = helper.find_min_ir_version_for([helper.make_opsetid("", declared.version)])
    model.ir_version = min(model.ir_version, oldest_format)


def oldest_onnxruntime(model: ModelProto) -> str | None:
    """The oldest release of onnxruntime that reads a model: "1.17", or None where none does that is known.

    Args:
        model: its operator set and IR version are looked at; `declare_lowest` makes them as low as they can be.
    """
    opset = max((entry.version for entry in model.opset_import if entry.domain in STANDARD), default=LOWEST_OPSET)
    fits = (name for name, newest, ir_version in _RELEASES if opset <= newest and model.ir_version <= ir_version)
    return next(fits, None)


def _standard_nodes(nodes: Sequence[NodeProto]) -> Iterator[NodeProto]:
    """All nodes of the standard domain, with those in the branches and bodies of others."""
    for node in nodes:
        if node.domain in STANDARD:
            yield node
        for attribute in node.attribute:
            graphs = [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs
            for graph in graphs:
                yield from _standard_nodes(graph.node)


def _lowest_of(node: NodeProto, declared: int) -> int:
    """The version of an operator from which on this node means what it means in the declared operator set."""
    schema = defs.get_schema(node.op_type, declared, "")
    while schema.since_version > LOWEST_OPSET:
        try:
            older = defs.get_schema(node.op_type, schema.since_version - 1, "")
        except defs.SchemaError:
            break  # the operator came with this version
        if not _same_meaning(node, older, schema):
            break
        schema = older
    return int(schema.since_version)


def _same_meaning(node: NodeProto, older: defs.OpSchema, newer: defs.OpSchema) -> bool:
    """Whether a new version of an operator only takes more types: the same attributes and inputs, as the node has them.

    GroupNormalization reads its scale in another shape since 21, which its signature does not show.
    """
    added = newer.attributes.keys() - older.attributes.keys()
    given = attributes(node)
    at_default = all(given[name] == _default(newer.attributes[name]) for name in added & given.keys())
    before, after = (
        {name: _default(attribute) for name, attribute in schema.attributes.items() if name not in added}
        for schema in (older, newer)
    )
    same_inputs = [value.option for value in older.inputs] == [value.option for value in newer.inputs]
    harmless = added <= _ADDED.get(node.op_type, set()) and node.op_type != "GroupNormalization"
    return before == after and at_default and same_inputs and harmless


def _default(attribute: defs.OpSchema.Attribute) -> object:
    return None if not attribute.default_value.type else helper.get_attribute_value(attribute.default_value)


def _drop_added(node: NodeProto, opset: int) -> None:
    """Remove attributes that the operator does not have in that operator set; `_same_meaning` saw their defaults."""
    known = defs.get_schema(node.op_type, max(opset, LOWEST_OPSET), "").attributes
    for attribute in [attribute for attribute in node.attribute if attribute.name not in known]:
        node.attribute.remove(attribute)

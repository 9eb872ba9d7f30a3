"""Find the lowest operator set that a graph needs, and the onnxruntime releases that read it.

torch exports for the operator set in which attention is one operator. With attention in the operator library, the other
operators are older; a file that declares the lowest set that it needs runs in older releases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnx import AttributeProto, ModelProto, NodeProto, defs, helper

from sdp_onnx.model.graph_index import attributes

STANDARD = ("", "ai.onnx")

# Every encoder has LayerNormalization, introduced in 17, and the oldest release below reads newer sets.
LOWEST_OPSET = 17

# Measured: the newest operator set, and the newest file format (IR version), that a release of onnxruntime reads.
# The operator library needs the C API of 1.17, so older releases are left out.
_RELEASES = (("1.17", 20, 9), ("1.18", 21, 10), ("1.21", 22, 10), ("1.23", 23, 11), ("1.24", 25, 13))

# Attributes that a later version added; their defaults change nothing for floats and integers.
_ADDED = {"Cast": {"saturate", "round_mode"}}


def declare_lowest(model: ModelProto) -> None:
    """Lower the declared operator set and IR version of a model to the lowest with the same meaning.

    Args:
        model: changed in place; unchanged if it has local functions, whose nodes are not checked.
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
    """Return the oldest release of onnxruntime that reads a model, such as "1.17"; None where no known release does.

    Args:
        model: a model whose operator set and IR version `declare_lowest` has lowered.
    """
    opset = max((entry.version for entry in model.opset_import if entry.domain in STANDARD), default=LOWEST_OPSET)
    fits = (name for name, newest, ir_version in _RELEASES if opset <= newest and model.ir_version <= ir_version)
    return next(fits, None)


def _standard_nodes(nodes: Sequence[NodeProto]) -> Iterator[NodeProto]:
    """Yield all nodes of the standard domain, also in subgraphs."""
    for node in nodes:
        if node.domain in STANDARD:
            yield node
        for attribute in node.attribute:
            graphs = [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs
            for graph in graphs:
                yield from _standard_nodes(graph.node)


def _lowest_of(node: NodeProto, declared: int) -> int:
    """Return the lowest version of an operator in which this node has the meaning of the declared operator set."""
    schema = defs.get_schema(node.op_type, declared, "")
    while schema.since_version > LOWEST_OPSET:
        try:
            older = defs.get_schema(node.op_type, schema.since_version - 1, "")
        except defs.SchemaError:
            break  # this version introduced the operator
        if not _same_meaning(node, older, schema):
            break
        schema = older
    return int(schema.since_version)


def _same_meaning(node: NodeProto, older: defs.OpSchema, newer: defs.OpSchema) -> bool:
    """Whether a new version of an operator only accepts more types, with the same attributes and inputs for this node.

    GroupNormalization changed the shape of its scale in 21, which its signature does not show.
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
    """Remove attributes that the operator lacks in that operator set; `_same_meaning` has checked their defaults."""
    known = defs.get_schema(node.op_type, max(opset, LOWEST_OPSET), "").attributes
    for attribute in [attribute for attribute in node.attribute if attribute.name not in known]:
        node.attribute.remove(attribute)

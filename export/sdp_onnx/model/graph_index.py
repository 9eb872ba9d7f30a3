"""Index of the producers and readers of each value of an ONNX graph, for rewriting it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper


class GraphIndex:
    """An index of a graph that must not change. Nodes are identified by their position."""

    def __init__(self, graph: GraphProto) -> None:
        self.nodes = list(graph.node)
        self.outputs = {value.name for value in graph.output}
        self._producer = {name: i for i, node in enumerate(self.nodes) for name in node.output if name}
        self._readers: dict[str, list[int]] = defaultdict(list)
        for i, node in enumerate(self.nodes):
            for name in node.input:
                self._readers[name].append(i)
        self._types: dict[str, ValueInfoProto] = {
            value.name: value for value in (*graph.value_info, *graph.input, *graph.output)
        }

    def producer(self, value: str, *op_types: str) -> int | None:
        """Return the node that produces a value, if it is one of these standard operators."""
        i = self._producer.get(value)
        return i if i is not None and self.is_op(i, *op_types) else None

    def is_op(self, i: int, *op_types: str) -> bool:
        """Whether node `i` is one of these operators of ONNX itself."""
        return self.nodes[i].op_type in op_types and self.nodes[i].domain in ("", "ai.onnx")

    def readers(self, value: str) -> list[int]:
        """The nodes that read a value, one of them as often as it does."""
        return self._readers[value]

    def only_reader(self, value: str, *op_types: str) -> int | None:
        """Return the only reader of a value, if it is one of these operators and the value is not an output."""
        readers = self._readers[value]
        if value in self.outputs or len(readers) != 1 or not self.is_op(readers[0], *op_types):
            return None
        return readers[0]

    def other_input(self, i: int, value: str) -> str:
        """Of a node with two inputs, the one that is not `value`."""
        first, second = self.nodes[i].input
        return str(second if first == value else first)

    def rank(self, value: str) -> int | None:
        """Number of dimensions, where the file declares it."""
        dimensions = self.dimensions(value)
        return None if dimensions is None else len(dimensions)

    def dimensions(self, value: str) -> tuple[int | str, ...] | None:
        """The dimensions of a value, where the file declares them: sizes or names, "" for one that has neither."""
        tensor = self._types[value].type.tensor_type if value in self._types else None
        if tensor is None or not tensor.HasField("shape"):
            return None
        return tuple(one.dim_value if one.HasField("dim_value") else one.dim_param for one in tensor.shape.dim)

    def upstream(self, value: str) -> list[int]:
        """All nodes that a value is computed by, in order."""
        found: set[int] = set()
        waiting = [value]
        while waiting:
            i = self._producer.get(waiting.pop())
            if i is not None and i not in found:
                found.add(i)
                waiting.extend(self.nodes[i].input)
        return sorted(found)

    def is_bool(self, value: str) -> bool:
        """Whether the file declares a value as bool."""
        return value in self._types and self._types[value].type.tensor_type.elem_type == TensorProto.BOOL


def attributes(node: NodeProto) -> dict[str, Any]:
    """Return the attributes of a node as Python values, with text decoded."""
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def has_subgraphs(nodes: Iterable[NodeProto]) -> bool:
    """Whether any node has a subgraph (If, Loop, Scan), which may read outer values."""
    return any(a.HasField("g") or a.graphs for node in nodes for a in node.attribute)

"""The linear layers of a graph that can be pruned, in the order in which it runs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from onnx import ModelProto, TensorProto

from sdp_onnx.export.kernel_patterns import Linear, find_linears
from sdp_onnx.model.graph_index import GraphIndex
from sdp_onnx.model.model_file import StoredTensor


@dataclass(frozen=True)
class LayerGroup:
    """Layers with the same input, such as query, key and value.

    Attributes:
        position: of the first of their nodes.
        x: their input, [batch, tokens, in].
        layers: the layers.
    """

    position: int
    x: str
    layers: tuple[Linear, ...]


def layer_groups(model: ModelProto, tensors: Mapping[str, StoredTensor]) -> tuple[LayerGroup, ...]:
    """Find linear layers on tokens, with float weights of their own. What makes the output is no part of the encoder.

    Args:
        model: the structure of a file, with the ranks of its values.
        tensors: its initializers.
    """
    readers = Counter(name for node in model.graph.node for name in node.input)
    outputs = {value.name for value in model.graph.output}
    groups: dict[str, list[Linear]] = {}
    for linear in find_linears(GraphIndex(model.graph), tensors).values():
        stored = tensors[linear.weight]
        plain = stored.data_type == TensorProto.FLOAT and stored.encoding == "dense"
        if plain and readers[linear.weight] == 1 and linear.out not in outputs:
            groups.setdefault(linear.x, []).append(linear)
    found = [LayerGroup(min(own.nodes[0] for own in layers), x, tuple(layers)) for x, layers in groups.items()]
    return tuple(sorted(found, key=lambda group: group.position))

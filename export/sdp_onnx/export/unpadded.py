"""What a rewritten encoder need not compute: padding, and all but the first tokens where a head reads these alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from onnx import ModelProto

from sdp_onnx.export.attention_patterns import AttentionBlock
from sdp_onnx.export.kernel_patterns import Linear
from sdp_onnx.export.key_mask import leaves_out_padding
from sdp_onnx.model.graph_index import GraphIndex, attributes
from sdp_onnx.model.model_file import StoredTensor

# The input of transformers' encoders that is not zero where there is a token.
ATTENTION_MASK = "attention_mask"


def needs_no_padding(
    model: ModelProto,
    index: GraphIndex,
    initializers: Mapping[str, StoredTensor],
    blocks: Sequence[AttentionBlock],
    linears: Sequence[Linear],
) -> bool:
    """Whether all that is packed has a row for each token, and rows see each other through these blocks alone.

    Args:
        model: the model, unchanged.
        index: of its graph.
        initializers: by name.
        blocks: the attention that runs on packed rows.
        linears: the linear layers that do, those of the blocks among them.
    """
    tokens = index.dimensions(ATTENTION_MASK)
    if ATTENTION_MASK not in {value.name for value in model.graph.input} or tokens is None:
        return False
    if len(tokens) != 2 or "" in tokens:
        return False
    values = {linear.x for linear in linears} | {linear.norm.residual for linear in linears if linear.norm}
    if any((index.dimensions(value) or ())[:2] != tokens for value in values):
        return False
    if not blocks or len(blocks) != sum(_attends(i, index) for i in range(len(index.nodes))):
        return False
    return all(
        mask is not None and leaves_out_padding(model, index, initializers, mask, ATTENTION_MASK)
        for mask in {block.mask for block in blocks}
    )


def _attends(i: int, index: GraphIndex) -> bool:
    """Whether a node is attention, or the softmax of attention that is written out."""
    return index.is_op(i, "Attention") or (
        index.is_op(i, "Softmax") and index.rank(index.nodes[i].input[0]) not in (1, 2, 3)
    )


def read_at_first_tokens(
    index: GraphIndex,
    initializers: Mapping[str, StoredTensor],
    blocks: Sequence[AttentionBlock],
    linears: Sequence[Linear],
) -> set[str]:
    """Return the results of which the first token of each text is read, and no other: of a classifier's last layer.

    Args:
        index: of the graph.
        initializers: by name.
        blocks: attention on packed rows.
        linears: linear layers on packed rows, without those of the blocks.
    """
    inside: dict[str, list[str]] = defaultdict(list)
    for linear in linears:
        for value in (linear.x, *([linear.norm.residual] if linear.norm else [])):
            inside[value].append(linear.out)
    made = {linear.out for linear in linears} | {block.out for block in blocks}
    found: set[str] = set()
    # A value is read after it is made: from the last node to the first.
    for value in reversed([out for node in index.nodes for out in node.output if out in made]):
        readers = index.readers(value)
        heads = sum(_takes_first_token(i, index, initializers) for i in readers)
        only = heads + len(inside[value]) == len(readers) and found.issuperset(inside[value])
        if only and value not in index.outputs:
            found.add(value)
    return found


def _takes_first_token(i: int, index: GraphIndex, initializers: Mapping[str, StoredTensor]) -> bool:
    """Whether a node is x[:, 0]."""
    node = index.nodes[i]
    if not index.is_op(i, "Gather") or attributes(node).get("axis", 0) != 1:
        return False
    position = initializers.get(node.input[1])
    return position is not None and position.shape == () and int(position.array()) == 0

"""Whether all that a mask of attention does is to leave out padding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from sdp_onnx.model.graph_index import GraphIndex
from sdp_onnx.model.model_file import StoredTensor

# What decides: longer than any window of local attention that is known to us.
_LENGTHS = (3, 40, 2100)
# A mask is computed from shapes and constants. One that needs more is of another kind.
_MOST_CONSTANTS = 1 << 20


def leaves_out_padding(
    model: ModelProto, index: GraphIndex, initializers: Mapping[str, StoredTensor], value: str, attention_mask: str
) -> bool:
    """Whether every query of a text sees exactly the keys for which the model's attention mask is not zero.

    What a query that is padding itself sees is of no account. The part of the graph that makes the mask is run on
    random attention masks of several lengths.

    Args:
        model: with `value` and the input `attention_mask`, int64 [batch, tokens].
        index: of its graph.
        initializers: its initializers by name.
        value: bool, broadcast to [batch, heads, tokens, tokens].
        attention_mask: the name of the input.
    """
    nodes = [index.nodes[i] for i in index.upstream(value)]
    read = {name for node in nodes for name in node.input}
    constants = [initializers[name] for name in sorted(read & set(initializers))]
    inputs = [one for one in model.graph.input if one.name in read]
    if attention_mask not in read or sum(constant.elements for constant in constants) > _MOST_CONSTANTS:
        return False
    part = helper.make_model(
        helper.make_graph(
            nodes,
            "mask",
            inputs,
            [helper.make_tensor_value_info(value, TensorProto.BOOL, None)],
            [numpy_helper.from_array(constant.array(), constant.name) for constant in constants],
        ),
        opset_imports=list(model.opset_import),
        ir_version=model.ir_version,
    )
    try:
        return all(_leaves_out(part, attention_mask, kept) for kept in _examples())
    except (
        Exception
    ):  # onnxruntime's exceptions have no common base class; the nodes need what only the whole model has
        return False


def _examples() -> Iterator[NDArray[np.bool_]]:
    rng = np.random.default_rng(0)
    for length in _LENGTHS:
        kept = rng.random((2, length)) < 0.7
        # A text without any token has no queries.
        kept[:, length // 2] = True
        yield kept


def _leaves_out(part: ModelProto, attention_mask: str, kept: NDArray[np.bool_]) -> bool:
    others = {one.name: np.zeros(kept.shape, np.int64) for one in part.graph.input}
    (mask,) = ReferenceEvaluator(part).run(None, others | {attention_mask: kept.astype(np.int64)})
    seen, expected, asked = np.broadcast_arrays(np.asarray(mask), kept[:, None, None, :], kept[:, None, :, None])
    return np.array_equal(seen[asked], expected[asked])

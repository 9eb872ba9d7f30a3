"""Choose the product of each linear layer, and whether a model uses the operator library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from sdp_onnx.model.model_file import StoredTensor
from sdp_onnx.operators.int8_coverage import MOST_INPUTS, multiplied_in_int8
from sdp_onnx.operators.sparse_format import QUAD
from sdp_onnx.operators.weight_formats import GROUP, LayerKind

Precision = Literal["fp32", "int8"]

# With a smaller share of nonzeros than this a sparse product is faster than a dense one. On one thread of an EPYC with
# AVX-512 the two take the same time at 0.50 to 0.55, by the shape of the weight and the number of tokens.
BREAK_EVEN_DENSITY = 0.52

# The same for int8 weights: share of the 1x4 blocks that hold a nonzero. The two take the same time at 0.43 to 0.65.
BREAK_EVEN_INT8_DENSITY = 0.52

# The largest mean share of nonzeros with which a model is rewritten; a dense layer counts as the break-even. At 0.50
# the shapes of benchmarks/peers/densities.py gained 1.6 to 2.2 times onnxruntime's speed.
LARGEST_MEAN_DENSITY = 0.51


def break_even(kind: LayerKind) -> float:
    """Return the share of filled elements (weights, or 1x4 blocks in int8) below which a sparse product is used."""
    return BREAK_EVEN_INT8_DENSITY if kind.endswith("int8") else BREAK_EVEN_DENSITY


def prefers_sparse(filled: float, elements: float, precision: Precision) -> bool:
    """Whether a sparse product is faster than a dense one for a layer.

    Args:
        filled: its weights that are not zero; in int8 its 1x4 blocks that hold one.
        elements: its weights; in int8 its 1x4 blocks.
        precision: of the product.
    """
    return filled < break_even("sparse-int8" if precision == "int8" else "sparse") * elements


def layer_kind(weight: StoredTensor, precision: Precision) -> LayerKind | None:
    """Choose the product for a weight [in_features, out_features]; None where the library has none for its shape."""
    in_features, out_features = weight.shape
    if precision == "int8" and in_features > MOST_INPUTS:
        return None
    if precision == "int8" and multiplied_in_int8(in_features, out_features):
        blocks = weight.array().reshape(in_features // 4, 4, out_features).any(axis=1)
        sparse = prefers_sparse(int(np.count_nonzero(blocks)), blocks.size, precision)
        return "sparse-int8" if sparse or out_features % GROUP else "dense-int8"
    if prefers_sparse(weight.nonzeros(), weight.elements, "fp32") and out_features % QUAD == 0:
        return "sparse"
    return "dense" if out_features % GROUP == 0 else None


def gains(layers: Sequence[tuple[float, float]], precision: Precision) -> bool:
    """Whether a model is faster with the library's operators; in int8 it is.

    Args:
        layers: of each linear layer the weights that are not zero, and all weights.
        precision: of the products.
    """
    counted = sum(min(nonzeros, BREAK_EVEN_DENSITY * elements) for nonzeros, elements in layers)
    return precision == "int8" or counted < LARGEST_MEAN_DENSITY * sum(elements for _, elements in layers)

"""Predict from the recipe how the exporter stores pruned layers, and which product multiplies by them.

The rules of sdp_onnx's kernel_choice and encode, for layers whose zeros are spread evenly: exact in fp32 with
prune.scope = "layer"; with "global" the layers differ, and this is about their mean.
"""

from __future__ import annotations

from sdp.recipe.export import ExportSection
from sdp.recipe.pruning import PruneSection
from sdp_onnx.export.encode import SPARSE_FROM
from sdp_onnx.export.kernel_choice import gains, prefers_sparse
from sdp_onnx.model.encodings import Encoding, coo_bytes, dense_bytes, smallest_encoding
from sdp_onnx.operators.sparse_format import sparse_bytes
from sdp_onnx.operators.weight_formats import LayerKind

FLOAT_BYTES = 4
_HALF_BYTES = 2
# An int8 kernel takes four consecutive inputs at once.
BLOCK = 4


def filled_blocks(pattern: str, density: float) -> float:
    """Return the share of 1x4 blocks with a nonzero, for weights with the given share of nonzeros.

    1x4: whole blocks stay. 2:4: every block keeps two. Unstructured: 1 - (1 - density)^4 for independent zeros.
    """
    if pattern == "1x4":
        return density
    return 1.0 if pattern == "2:4" else 1 - (1 - density) ** BLOCK


def float_bytes(export: ExportSection) -> int:
    """Return the bytes of a floating-point number in the file."""
    return _HALF_BYTES if export.precision == "fp16" else FLOAT_BYTES


def is_exact(prune: PruneSection) -> bool:
    """Whether every layer has the overall sparsity, so that a prediction for the mean holds for each layer."""
    return prune.scope == "layer" or prune.pattern == "2:4"


def product(prune: PruneSection, export: ExportSection, density: float, *, library: bool) -> LayerKind | None:
    """Return the product that multiplies by a pruned layer; None for onnxruntime's own.

    Args:
        prune: section with the pattern.
        export: section with encoding and precision.
        density: share of nonzero weights. Where units are removed no zeros are left.
        library: whether this installation has the operator library.
    """
    if prune.structured:
        density = 1.0
    if export.precision == "int8":
        return "sparse-int8" if prefers_sparse(filled_blocks(prune.zeros, density), 1, "int8") else "dense-int8"
    by_library = export.may_use_library and (export.encoding == "kernel" or library)
    rewritten = by_library and gains([(density, 1)], "fp32") and prefers_sparse(density, 1, "fp32")
    return "sparse" if rewritten else None


def stored_as(kind: LayerKind | None, export: ExportSection, density: float) -> Encoding:
    """Return the encoding of such a layer in the file."""
    if kind is not None:
        return "kernel"
    if export.encoding == "dense":
        return "dense"
    if export.encoding == "coo":
        return "coo" if 1 - density >= SPARSE_FROM else "dense"
    return smallest_encoding(10**6, round(10**6 * density), float_bytes(export))


def stored_bytes(
    kind: LayerKind | None, encoding: Encoding, pattern: str, elements: int, kept: int, itemsize: int
) -> int:
    """Return the bytes in the file of a layer with `elements` weights, of which `kept` are not zero.

    Args:
        kind: its product.
        encoding: how it is stored.
        pattern: of its zeros.
        elements, kept: its weights, and those that are not zero.
        itemsize: bytes of a weight that no operator of the library holds.
    """
    if kind == "dense-int8":
        return elements
    if kind == "sparse-int8":
        return sparse_bytes(elements // BLOCK, round(elements / BLOCK * filled_blocks(pattern, kept / elements)))
    if kind == "sparse":
        return sparse_bytes(elements, kept)
    return coo_bytes(kept, itemsize) if encoding == "coo" else dense_bytes(elements, itemsize)

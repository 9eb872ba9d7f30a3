"""The sparse format of the operator library: the layout of a pruned weight for its kernels. Pure numpy.

SELL-C-sigma with C = 4 (Kreutzer et al., SIAM J. Sci. Comput. 36, 2014), cut into slices of columns. An element is one
float32, or four consecutive int8 of a row, a 1x4 block, so that it always takes four bytes. The columns are cut into
slices, so that the inputs of one slice stay in a first-level cache for all rows, and the rows into blocks, the unit of
parallel work. In each (block, slice) the rows are sorted by their number of elements and grouped by four; the four, a
quad, are padded to one width and interleaved: element j of the quad's row r is at 4 * j + r.

At 90 % zeros a float32 weight takes 0.128 of its dense bytes, an int8 one in 1x4 blocks 0.033 of the float32 bytes.

The C++ side of this definition is `SparseMatrix` in export/native/include/kernels.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Measured on a Xeon with AVX-512, 90 % zeros, 128 tokens: 192 columns of 64 tokens fill the first-level cache.
# With slices of 96 or 256 columns a product took 1.1 and 1.3 times as long, with blocks of 128 rows 1.15 times.
SLICE = 192
BLOCK = 192

# In int8 as many in one slice are best where that is all of a row. Of 768, on an EPYC with 70 to 90 % zeros, slices of
# 192 and 256 took 1.1 and 1.2, 1.05 and 1.15, 1.0 and 1.0 times as long as those of 128.
INT8_SLICE = 128
INT8_WHOLE = 192

# Rows of a quad.
QUAD = 4


@dataclass(frozen=True)
class SparseWeight:
    """A weight [out_features, in_features] in the sparse format.

    Attributes:
        values: [elements] float32, or [elements, 4] int8.
        columns: uint8 [elements], counted in elements from the start of the slice.
        rows: uint8 [slices * out_features], the order of the rows in each (block, slice), counted from the first of
            the block.
        widths: uint16 [slices * out_features / 4], the elements of each row of a quad.
    """

    out_features: int
    in_features: int
    slice: int
    block: int
    values: NDArray[Any]
    columns: NDArray[np.uint8]
    rows: NDArray[np.uint8]
    widths: NDArray[np.uint16]

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.columns.nbytes + self.rows.nbytes + self.widths.nbytes


def sparse_bytes(elements: int, nonzeros: int) -> int:
    """Estimate the bytes of a large float32 weight, without the padding of less than 2 % of the nonzeros."""
    per_nonzero = 4 + 1
    per_row_and_slice = 1 + 2 / QUAD
    return nonzeros * per_nonzero + round(elements / SLICE * per_row_and_slice)


def pack_sparse(weight: NDArray[Any], *, slice_columns: int | None = None, block: int = BLOCK) -> SparseWeight:
    """Pack a weight [out_features, in_features]: float32 by element, int8 by 1x4 block with a nonzero.

    Args:
        slice_columns: elements of a row in one slice, at most 256; by default the best value for the element type.
        block: rows of a block, a multiple of 4, at most 256.

    Raises:
        ValueError: out_features, or in_features of an int8 weight, is not a multiple of 4, or the type is unsupported.
    """
    out_features, in_features = weight.shape
    if weight.dtype == np.int8:
        if in_features % 4:
            raise ValueError(f"in_features {in_features} is not a multiple of 4")
        elements = weight.reshape(out_features, in_features // 4, 4)
        filled = np.asarray(elements.any(axis=2))
    elif weight.dtype == np.float32:
        elements = weight
        filled = np.not_equal(weight, 0)
    else:
        raise ValueError(f"weights are float32 or int8, not {weight.dtype}")
    if out_features % QUAD:
        raise ValueError(f"out_features {out_features} is not a multiple of {QUAD}")
    int8_step = INT8_WHOLE if filled.shape[1] <= INT8_WHOLE else INT8_SLICE
    step = slice_columns or (int8_step if weight.dtype == np.int8 else SLICE)

    parts = [
        _pack_slice(elements[top : top + block, left : left + step], filled[top : top + block, left : left + step])
        for top in range(0, out_features, block)
        for left in range(0, filled.shape[1], step)
    ]
    values, columns, rows, widths = (np.concatenate(part) for part in zip(*parts, strict=True))
    return SparseWeight(out_features, in_features, step, block, values, columns, rows, widths)


def _pack_slice(
    elements: NDArray[Any], filled: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint16]]:
    """One (block, slice): values, columns, order of the rows, widths of the quads."""
    counts = filled.sum(axis=1)
    order = np.argsort(-counts, kind="stable")
    widths = counts[order][::QUAD]
    # Index of each element: after the previous quads, at 4 * (its rank in its row) + (its row in the quad).
    starts = QUAD * np.concatenate(([0], np.cumsum(widths)[:-1]))
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    row, column = np.nonzero(filled)
    rank = np.arange(row.size) - np.repeat(np.cumsum(counts) - counts, counts)
    target = starts[place[row] // QUAD] + QUAD * rank + place[row] % QUAD

    size = QUAD * int(widths.sum())
    values = np.zeros((size, *elements.shape[2:]), dtype=elements.dtype)
    columns = np.zeros(size, dtype=np.uint8)
    values[target] = elements[row, column]
    columns[target] = column
    return values, columns, order.astype(np.uint8), widths.astype(np.uint16)


def unpack_sparse(packed: SparseWeight) -> NDArray[Any]:
    """Unpack a weight [out_features, in_features].

    Raises:
        IndexError, ValueError: the arrays contradict each other.
    """
    per_element = packed.values.shape[1] if packed.values.ndim == 2 else 1
    columns = packed.in_features // per_element
    values = packed.values.reshape(-1, per_element)
    weight = np.zeros((packed.out_features, columns, per_element), dtype=values.dtype)
    element = order = 0
    for top in range(0, packed.out_features, packed.block):
        rows = min(packed.block, packed.out_features - top)
        for left in range(0, columns, packed.slice):
            widths = packed.widths[order // QUAD : (order + rows) // QUAD].astype(np.intp)
            here = slice(element, element + QUAD * int(widths.sum()))
            quad = np.repeat(np.arange(widths.size), QUAD * widths)
            row = packed.rows[order : order + rows].astype(np.intp)[QUAD * quad + np.arange(quad.size) % QUAD]
            # Padding refers to a column that may hold a value.
            filled = values[here].any(axis=1)
            weight[top + row[filled], left + packed.columns[here][filled].astype(np.intp)] = values[here][filled]
            element, order = here.stop, order + rows
    return weight.reshape(packed.out_features, packed.in_features)

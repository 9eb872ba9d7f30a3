"""Encodings of a tensor: dense, or ONNX's COO sparse tensor. Sizes and conversions, pure numpy.

The third encoding, `kernel`, belongs to operators: see sparse_format.py.

A COO tensor holds its nonzero values and their positions in the flattened array as int64. The ONNX checker accepts no
narrower positions, so COO pays off only above `itemsize / (itemsize + 8)` stored elements: 67 % zeros for float32, 80 %
for float16, 89 % for int8.

Negative zero counts as zero: masking by multiplication leaves -0.0 for pruned negative weights, about half of the
zeros. A decoded tensor holds +0.0 instead: it is equal element by element, and bit for bit where the original has no
-0.0.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import SparseTensorProto, TensorProto, numpy_helper

from sdp_onnx.errors import ModelFileError

Encoding = Literal["dense", "coo", "kernel"]

INDEX_BYTES = 8

# Limits of a decoded sparse tensor: so many bytes in any case, and beyond so many for each value in it.
_ALWAYS_DECODED = 2**28
_MOST_DECODED = 2**14

_TEXT_OR_PACKED = {
    TensorProto.STRING,
    TensorProto.INT4,
    TensorProto.UINT4,
    TensorProto.FLOAT4E2M1,
}


def dense_bytes(elements: int, itemsize: int) -> int:
    """Return the payload of a dense tensor in bytes."""
    return elements * itemsize


def coo_bytes(nonzeros: int, itemsize: int) -> int:
    """Return the payload of a COO tensor in bytes: one value and one int64 position per nonzero element."""
    return nonzeros * (itemsize + INDEX_BYTES)


def smallest_encoding(elements: int, nonzeros: int, itemsize: int) -> Encoding:
    """Return the encoding with the smaller payload; dense when they are equal."""
    return "coo" if coo_bytes(nonzeros, itemsize) < dense_bytes(elements, itemsize) else "dense"


def split_coo(array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the nonzero values [nonzeros] of an array of any shape, and their ascending positions [nonzeros]."""
    flat = array.reshape(-1)
    positions = np.flatnonzero(flat).astype(np.int64, copy=False)
    return flat[positions], positions


def to_coo(array: NDArray[Any], name: str) -> SparseTensorProto:
    """Encode an array of any shape with linear int64 positions."""
    values, positions = split_coo(array)
    return SparseTensorProto(
        values=numpy_helper.from_array(values, name), indices=numpy_helper.from_array(positions), dims=array.shape
    )


def from_coo(sparse: SparseTensorProto, folder: str = "") -> NDArray[Any]:
    """Decode a COO tensor to a dense array of its shape.

    Positions may be linear, [nonzeros], or coordinates, [nonzeros, rank]. `folder` holds any external data.

    Raises:
        ModelFileError: the positions do not match the values or lie outside the tensor, or the shape is implausibly
            large for the number of values.
    """
    shape = tuple(sparse.dims)
    _check_claim(sparse)
    values = numpy_helper.to_array(sparse.values, folder)
    positions = numpy_helper.to_array(sparse.indices, folder)
    if positions.ndim == 2 and positions.shape[1] == len(shape) and _inside(positions, np.asarray(shape)):
        positions = np.ravel_multi_index(tuple(positions.T), shape)
    if positions.shape != values.shape or values.ndim != 1 or not _inside(positions, np.asarray(math.prod(shape))):
        raise ModelFileError(
            "the positions of a sparse tensor do not fit its values and shape",
            where=sparse.values.name,
            hint="The file is damaged: export it again.",
        )
    dense = np.zeros(math.prod(shape), dtype=values.dtype)
    dense[positions] = values
    return dense.reshape(shape)


def _check_claim(sparse: SparseTensorProto) -> None:
    """Check that a few values do not claim a tensor larger than memory; an empty layer of a model may be zero."""
    size = math.prod(sparse.dims) * itemsize_of(sparse.values.data_type)
    if size > _ALWAYS_DECODED and size > _MOST_DECODED * math.prod(sparse.values.dims):
        raise ModelFileError(
            f"a sparse tensor of {math.prod(sparse.values.dims)} values claims {size:,} bytes",
            where=sparse.values.name,
            hint="The file is damaged: export it again.",
        )


def itemsize_of(data_type: int) -> int:
    """Return the bytes of one element of an ONNX element type in an external or raw payload."""
    return int(_numpy_dtype(data_type).itemsize)


def is_plain(data_type: int) -> bool:
    """Whether an element takes whole bytes: neither text nor packed."""
    return data_type not in _TEXT_OR_PACKED


def dtype_name(data_type: int) -> str:
    """Return numpy's name of an ONNX element type, such as float32; the ONNX name where numpy has none."""
    dtype = _numpy_dtype(data_type)
    return TensorProto.DataType.Name(data_type).lower() if dtype.hasobject else dtype.name


def _numpy_dtype(data_type: int) -> np.dtype[Any]:
    from onnx.helper import tensor_dtype_to_np_dtype

    try:
        return np.dtype(tensor_dtype_to_np_dtype(data_type))
    except KeyError:
        raise ModelFileError(
            f"a tensor has the unknown element type {data_type}", hint="The file is damaged or newer than this onnx."
        ) from None


def _inside(positions: NDArray[Any], size: NDArray[Any]) -> bool:
    return positions.size == 0 or bool(np.all((positions >= 0) & (positions < size)))

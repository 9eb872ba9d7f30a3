from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from sdp_onnx.errors import ModelFileError
from sdp_onnx.model.encodings import (
    coo_bytes,
    dense_bytes,
    dtype_name,
    from_coo,
    is_plain,
    itemsize_of,
    smallest_encoding,
    split_coo,
    to_coo,
)

DTYPES = [np.float32, np.float16, np.float64, np.int8]


@st.composite
def sparse_arrays(draw: st.DrawFn) -> NDArray[np.generic]:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=8))
    values = draw(hnp.arrays(dtype, shape))
    keep = draw(hnp.arrays(np.bool_, shape))
    return np.where(keep, values, np.zeros((), dtype))


@given(sparse_arrays())
def test_coo_round_trip_keeps_every_bit_but_the_sign_of_zero(array: NDArray[np.generic]) -> None:
    decoded = from_coo(to_coo(array, "w"))
    assert decoded.dtype == array.dtype
    # + 0 turns -0.0 into 0.0, and changes no other bit pattern that numpy can produce here.
    expected = np.where(array == 0, np.zeros((), array.dtype), array)
    assert decoded.tobytes() == expected.tobytes()
    assert decoded.shape == array.shape


@given(sparse_arrays())
def test_sizes_are_those_of_the_serialized_payloads(array: NDArray[np.generic]) -> None:
    sparse = to_coo(array, "w")
    nonzeros = int(np.count_nonzero(array))
    assert len(sparse.values.raw_data) + len(sparse.indices.raw_data) == coo_bytes(nonzeros, array.itemsize)
    assert len(numpy_helper.from_array(array).raw_data) == dense_bytes(array.size, array.itemsize)


def test_positions_are_those_of_a_naive_loop_and_of_scipy() -> None:
    rng = np.random.default_rng(0)
    array = np.where(rng.random((7, 5)) < 0.3, rng.normal(size=(7, 5)), 0).astype(np.float32)
    values, positions = split_coo(array)
    naive = [row * 5 + column for row in range(7) for column in range(5) if array[row][column] != 0]
    assert positions.tolist() == naive
    assert positions.dtype == np.int64
    reference = scipy.sparse.coo_array(array)
    np.testing.assert_array_equal(positions, reference.row * 5 + reference.col)
    np.testing.assert_array_equal(values, reference.data)


def test_negative_zero_is_a_zero_and_nan_is_not() -> None:
    values, positions = split_coo(np.array([-0.0, np.nan, 0.0, 2.0], dtype=np.float32))
    assert positions.tolist() == [1, 3]
    assert np.isnan(values[0])
    assert values[1] == 2.0


@pytest.mark.parametrize(("itemsize", "nonzeros_of_1200"), [(4, 400), (2, 240), (8, 600), (1, 133)])
def test_coo_wins_just_below_its_break_even(itemsize: int, nonzeros_of_1200: int) -> None:
    exact = 1200 * itemsize % (itemsize + 8) == 0
    assert smallest_encoding(1200, nonzeros_of_1200 - exact, itemsize) == "coo"
    assert smallest_encoding(1200, nonzeros_of_1200 + 1 - exact, itemsize) == "dense"


def test_coordinates_are_decoded_too() -> None:
    array = np.array([[0, 3, 0], [4, 0, 5]], dtype=np.float32)
    sparse = to_coo(array, "w")
    sparse.indices.CopyFrom(numpy_helper.from_array(np.argwhere(array).astype(np.int64)))
    np.testing.assert_array_equal(from_coo(sparse), array)


@pytest.mark.parametrize("positions", [[0, 6], [-1, 2], [0], [[0, 1], [5, 0]], [[0, 1, 2], [0, 1, 2]]])
def test_positions_that_do_not_fit_are_refused(positions: list[int]) -> None:
    sparse = to_coo(np.array([[0, 3, 0], [4, 0, 0]], dtype=np.float32), "some.weight")
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array(positions, dtype=np.int64)))
    with pytest.raises(ModelFileError, match=r"some\.weight"):
        from_coo(sparse)


def test_element_types() -> None:
    assert (itemsize_of(TensorProto.FLOAT16), dtype_name(TensorProto.FLOAT16)) == (2, "float16")
    assert dtype_name(TensorProto.STRING) == "string"
    assert is_plain(TensorProto.INT8)
    assert not is_plain(TensorProto.INT4)
    with pytest.raises(ModelFileError, match="999"):
        itemsize_of(999)

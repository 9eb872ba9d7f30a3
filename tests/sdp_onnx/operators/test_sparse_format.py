from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp_onnx.operators.sparse_format import SparseWeight, pack_sparse, unpack_sparse


def sparse_weight(
    out_features: int, in_features: int, density: float, dtype: type = np.float32, seed: int = 0
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype is np.int8:
        kept = rng.random((out_features, in_features // 4, 1)) < density
        values = rng.integers(-127, 128, (out_features, in_features // 4, 4))
        return (values * kept).astype(np.int8).reshape(out_features, in_features)
    return (
        rng.standard_normal((out_features, in_features)) * (rng.random((out_features, in_features)) < density)
    ).astype(np.float32)


def read_naively(packed: SparseWeight) -> np.ndarray:
    """The format element by element, as it is defined."""
    per_element = packed.values.shape[1] if packed.values.ndim == 2 else 1
    columns = packed.in_features // per_element
    weight = np.zeros((packed.out_features, columns, per_element), dtype=packed.values.dtype)
    values = packed.values.reshape(-1, per_element)
    element = order = 0
    for top in range(0, packed.out_features, packed.block):
        rows = min(packed.block, packed.out_features - top)
        for left in range(0, columns, packed.slice):
            for quad in range(0, rows, 4):
                for _ in range(int(packed.widths[(order + quad) // 4])):
                    for r in range(4):
                        row = top + int(packed.rows[order + quad + r])
                        weight[row, left + int(packed.columns[element])] += values[element]
                        element += 1
            order += rows
    return weight.reshape(packed.out_features, packed.in_features)


@given(
    quads=st.integers(1, 30),
    in_features=st.integers(1, 40),
    density=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    slice_columns=st.integers(1, 40),
    block=st.sampled_from([4, 8, 64]),
    dtype=st.sampled_from([np.float32, np.int8]),
    seed=st.integers(0, 99),
)
def test_a_packed_weight_read_back_is_the_weight(
    quads: int, in_features: int, density: float, slice_columns: int, block: int, dtype: type, seed: int
) -> None:
    weight = sparse_weight(4 * quads, 4 * in_features, density, dtype, seed)
    packed = pack_sparse(weight, slice_columns=slice_columns, block=block)
    np.testing.assert_array_equal(read_naively(packed), weight)
    np.testing.assert_array_equal(unpack_sparse(packed), weight)
    assert packed.columns.size == 0 or packed.columns.max() < slice_columns


def test_a_row_with_all_columns_of_a_slice_fits_the_index_types() -> None:
    weight = np.ones((256, 512), np.float32)
    packed = pack_sparse(weight, slice_columns=256, block=256)
    np.testing.assert_array_equal(unpack_sparse(packed), weight)
    assert packed.widths.max() == 256


@pytest.mark.parametrize(("dtype", "largest"), [(np.float32, 0.13), (np.int8, 0.033)])
def test_the_size_at_90_percent_zeros(dtype: type, largest: float) -> None:
    weight = sparse_weight(768, 3072, 0.1, dtype)
    assert pack_sparse(weight).nbytes < largest * weight.size * 4


def test_only_multiples_of_four_and_two_types() -> None:
    with pytest.raises(ValueError, match="out_features 6"):
        pack_sparse(np.zeros((6, 8), np.float32))
    with pytest.raises(ValueError, match="in_features 6"):
        pack_sparse(np.zeros((8, 6), np.int8))
    with pytest.raises(ValueError, match="float64"):
        pack_sparse(np.zeros((8, 8)))
